"""The refresh, the only thing that changes what a reader sees; enter at `refresher`, which also times it."""
