"""Live traffic: the configuration, the ASGI app, and the way of a call from target to target."""
