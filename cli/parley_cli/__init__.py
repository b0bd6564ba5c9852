"""The `parley` command: the only package that may import every role, each inside its own command."""
