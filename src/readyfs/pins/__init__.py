"""Pins: named marks with a lease, each of which keeps one catalog as a view; enter at `registry`."""
