"""PostgreSQL: row versions say what changed; enter at `store`."""
