"""Reading rows: from what a database hands over to the columns of a series; enter at `parser` or `columns`."""
