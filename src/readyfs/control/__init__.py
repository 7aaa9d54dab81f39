"""Status, refresh and stop over a Unix socket that is served even while the mount or a store hangs."""
