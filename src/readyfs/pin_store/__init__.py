"""The pin store: a directory that several mounts share, where each finds the catalogs that others pinned.

Enter at `store`. `files` makes every system call, `records` reads and writes small files, and `packs` holds the rows.
A view of the store is a directory with a root (`roots`) and leases (`leases`). `names` are those of pins, and
`collecting` removes what nothing needs.
"""
