"""The refresh, the only thing that changes what a reader sees; enter at `refresher`; `schedule` times it."""
