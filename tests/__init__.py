"""The tests; folders mirror `src/readyfs`."""
