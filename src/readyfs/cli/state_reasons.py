"""Why something is ready or is not, asked of the state store and the raw store without a mount."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from readyfs.check.one_run import look_at_run, shows_file_of_run
from readyfs.cli.place import Place
from readyfs.config import table as settings
from readyfs.config.build import find_files
from readyfs.consumer.address import Address, ImpossibleAddressError
from readyfs.consumer.address_text import parse_address
from readyfs.consumer.explanation import Explanation
from readyfs.consumer.facts import Look, Recorded, Rules
from readyfs.consumer.telling import claims_of
from readyfs.consumer.why import explain, explain_filtered, explain_impossible, partition_of
from readyfs.errors import UsageError
from readyfs.layout import RawLayout
from readyfs.log import configure_logging
from readyfs.log_words import LogFormat, LogLevel
from readyfs.partition import PartitionKey, PartitionStatus, SeriesKey
from readyfs.state.reader import StateReader
from readyfs.text import escape_text

RAW_TIMEOUT_S = 10.0


@dataclass(slots=True)
class StateReasons:
    """Answers from the stores of a place; what it opened is let go of by `close`."""

    place: Place
    rules: Rules = field(init=False)
    _raw_layout: RawLayout = field(init=False)
    _reader: StateReader | None = None

    def __post_init__(self) -> None:
        configure_logging(LogFormat.HUMAN, LogLevel.WARNING)  # to stderr: what is printed here is the answer alone
        get = self.place.resolution.get
        self._raw_layout = RawLayout.parse(get(settings.RAW_LAYOUT), get(settings.RAW_ENCODING))
        self.rules = Rules(self.place.filters(), self.place.layout(), with_messages=True)

    def explain(self, asked: str, source: str | None) -> Explanation:
        """Return why an address is ready or is not; raise `UsageError`, `StateError`."""
        shown = escape_text(os.fsencode(asked))
        files, required = find_files(self.place.resolution)
        try:
            address = parse_address(asked, self.rules.layout, self.place.mountpoint, source)
        except ImpossibleAddressError as error:
            return explain_impossible(shown, error)
        shows_file = not address.file or shows_file_of_run(files, address.file)
        filtered = explain_filtered(shown, address, self.rules, shows_file=shows_file)
        if filtered is not None:
            return filtered
        if not address.names_partition:
            raise UsageError(f"{shown} names no date", "name one, as in customer/query/date; `readyfs ls` lists them")
        address = self._with_date(address)
        recorded = self._find(address)
        return explain(shown, address, self.rules, None, recorded, self._look(address, recorded, required))

    def close(self) -> None:
        """Close what was opened."""
        if self._reader is not None:
            self._reader.close()

    def _with_date(self, address: Address) -> Address:
        """Return an address with the date that `latest` stands for now."""
        if not address.is_latest:
            return address
        filters = address.narrow(self.rules.filters)
        newest = None
        if filters is not None:
            reader = self.place.open_reader(filters)
            try:
                newest = max((series.ready[-1] for series in reader.series() if series.ready), default=None)
            finally:
                reader.close()
        return replace(address, first=newest, last=newest)

    def _find(self, address: Address) -> Recorded:
        if address.date is None or address.customer_id is None or address.query_name is None:
            return Recorded()
        if self._reader is None:
            self._reader = self.place.open_reader(self.rules.filters)
        series = SeriesKey(address.source or b"", address.customer_id, address.query_name)
        return Recorded(tuple(self._reader.find(PartitionKey(series, address.date))))

    def _look(self, address: Address, recorded: Recorded, required: tuple[str, ...]) -> Look:
        claims = claims_of(recorded.rows)
        if len(claims) != 1 or claims[0].status is not PartitionStatus.READY:
            return Look()
        raw = self.place.resolution.get(settings.RAW)
        if raw is None:
            return Look(problem="no raw root is named")
        names = [os.fsencode(name) for name in required]
        partition = partition_of(claims[0])
        looked = look_at_run(raw, self._raw_layout, names, partition, address.file, RAW_TIMEOUT_S)
        if looked is None:
            return Look(problem="the raw store did not answer")
        return Look(looked[0], lacks_file=not looked[1])
