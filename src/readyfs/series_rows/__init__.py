"""The ready rows of a series: what state stores hand over and compare, and catalogs are built of."""

from readyfs.series_rows.blocks import Block
from readyfs.series_rows.columns import Row
from readyfs.series_rows.rows import SeriesRows

__all__ = ["Block", "Row", "SeriesRows"]
