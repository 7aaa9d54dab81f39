"""The filesystem's meaning, without FUSE: what a name stands for, who it is, what it answers. Enter at `filesystem`.

`filesystem` is the one implementation of every operation; engines translate it to a kernel protocol. From there:

- A name becomes a node in `resolver`, a node's inode number is made in `inode_number`, and `inode_table` holds those
  that the kernel knows. `entries` says what the kernel is told of a node, `directory_listings` lists.
- A run is judged in `runs`, by a look in `run_look`; `damage` remembers what a broken one was sealed with.
- EIO begins as a `BrokenRunError`: in `raw_files` at open and read, in `resolver` and `directory_listings` for names of
  a broken run. `fuse.errno_table` turns it into the errno.
- `catalogs` holds the catalog in force, `handles` what is open, and `invalidation` says what a kernel must forget after
  a refresh.
"""
