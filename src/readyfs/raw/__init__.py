"""The raw store: the only opener of run directories and raw files."""
