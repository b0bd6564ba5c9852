"""Shipped test kit: one contract suite per port, a manual clock, fault wrappers."""
