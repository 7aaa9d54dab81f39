"""Measurements beside the raw tree and bindfs: `make bench`."""
