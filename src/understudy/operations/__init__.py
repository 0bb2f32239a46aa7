"""What providers do beside chat, as pure translation: bytes and values in, bytes and values out."""
