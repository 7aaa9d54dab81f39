"""The consumer's questions: what is there, what is late, what changed, and why not.

One module for each question, over rows, catalogs and a calendar. Nothing here knows of a mount, a socket or a terminal.
"""
