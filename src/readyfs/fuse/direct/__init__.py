"""The direct engine: the FUSE kernel protocol spoken from Python, without libfuse."""
