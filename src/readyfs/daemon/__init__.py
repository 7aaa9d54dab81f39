"""One mount from start to end; enter at `run`."""
