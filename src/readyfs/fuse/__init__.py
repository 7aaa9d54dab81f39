"""The kernel's side: mounting, answering its requests, and telling it what has changed.

Enter at `engine`, the port behind which `direct` and `pyfuse3` stand. What a client gets instead of a result is decided
in `errno_table`. A mount begins with `availability` and `mount_point`, and ends with `unmount`.
"""
