"""The kernel-facing side: engines, mounting, cache invalidation, and the one table from errors to errno."""
