"""Any other database: neither SQLite nor PostgreSQL, but whatever else SQLAlchemy knows; enter at `store`.

A watermark on `updated_at` says what changed. What `sqlalchemy_engine` and `inspector` do is done for PostgreSQL, too.
"""
