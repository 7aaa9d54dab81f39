"""Replay: a command for each ready partition, in the order of dates, that goes on where it was interrupted.

Enter at `plan.make_plan`, then `runner.run`. Where the partitions come from is the business of the caller.
"""
