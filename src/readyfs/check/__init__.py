"""Checking without a mount: whether each ready partition's run is there, sealed, and what its row says it is."""
