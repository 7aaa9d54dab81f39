"""The command line: words in, one line or one report out. It holds no behaviour of the filesystem.

Enter at `main`; each command is a module of its own name.
"""
