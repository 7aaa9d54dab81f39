"""Reading the state table and noticing that it changed: the only importer of SQL drivers.

Entered through `open_state` in `readyfs.state.open`. Nothing here ever writes: a state store belongs to its producer.
"""
