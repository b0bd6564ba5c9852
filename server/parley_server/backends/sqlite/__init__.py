"""Ports kept in SQLite files: the embedded default."""
