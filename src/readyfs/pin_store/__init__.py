"""The pin store: a directory that several mounts share, where pinned catalogs are found by all of them; enter at `store`."""
