"""The portable engine, over libfuse; enter at `engine`."""
