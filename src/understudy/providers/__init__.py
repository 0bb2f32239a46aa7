"""The providers we know, as data: `catalogue.toml`, its loader, and how each kind of key is sent."""
