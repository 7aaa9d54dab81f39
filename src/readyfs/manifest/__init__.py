"""Manifests: what a catalog shows below a directory as one file, a line for each partition or file.

Enter at `manifest`. Nothing here does I/O: a manifest is made of a catalog alone, piece by piece as it is read.
"""
