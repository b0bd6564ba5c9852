"""Users, devices, passwords and tokens."""
