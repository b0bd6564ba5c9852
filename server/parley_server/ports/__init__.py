"""What the server needs of the world, as protocols with laws. Backends keep them."""
