"""What is measured, done in a process of its own: `python -m benchmarks.work KIND VIEW` prints seconds and a count.

The count (files, bytes, records) is compared between the contenders, so that nobody wins by doing less.
"""
