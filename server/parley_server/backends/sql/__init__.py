"""SQLAlchemy: one schema, SQLite and PostgreSQL."""
