"""The command line: words in, one line or one report out. It holds no behaviour of the filesystem."""
