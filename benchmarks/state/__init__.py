"""The state at scale: a generator of large state tables, and what they cost; `make bench-state` runs it."""
