"""SQLite: read in chunks that are compared by their hashes; enter at `store`."""
