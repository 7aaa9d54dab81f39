"""The immutable tree of ready partitions: built from rows, shared between versions, compared by content.

`series` holds the dates of one (source, customer, query); `tree` stacks directories over series; `build` turns
rows into a catalog and carries over what did not change; `delta` says what differs between two catalogs.
"""
