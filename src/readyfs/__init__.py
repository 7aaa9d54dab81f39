"""readyfs: a read-only filesystem that shows a pipeline's ready partitions and nothing else."""

__version__ = "0.1.0"
