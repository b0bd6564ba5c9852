"""Keepers of the ports, by technology."""
