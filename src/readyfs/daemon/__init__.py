"""The daemon: one mount from start to end; enter at `run`, which builds it all.

`signals` and `answers` ask for the end, `mount` waits for it, and `shutdown` takes the mount down.
"""
