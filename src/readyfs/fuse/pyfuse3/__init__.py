"""The portable engine, over libfuse; enter at `engine`, or at `operations`, where a request becomes an answer."""
