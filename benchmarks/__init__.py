"""Measurements beside the raw tree, what people use instead of readyfs, and bindfs: `make bench`."""
