"""Ports kept in this process's memory: for the embedded node and for tests."""
