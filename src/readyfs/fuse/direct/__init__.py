"""The direct engine: the FUSE kernel protocol spoken from Python, without libfuse.

Enter at `engine`, which holds the parts together, or at `dispatch`, where a request becomes an answer. The life of a
request is told in `in_flight`.
"""
