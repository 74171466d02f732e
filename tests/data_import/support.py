"""Generated ``.day`` files, and a way to run an import against a real database without a worker around it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from jobrunner.data_import.request import ImportRequest
from jobrunner.data_import.run import run
from jobrunner.data_import.sources import open_source
from jobrunner.db.engine import Database
from jobrunner.db.market import market_bars
from jobrunner.errors import DatabaseUnavailable
from jobrunner.handlers import Context, run_effect
from jobrunner.handlers.context import Transaction
from jobrunner.queue.task import Lease, LogLine, Task

UNITS = {"share": 1, "lot100": 100, "bondlot10": 10}


def record(
    day: int,
    prices: tuple[int, int, int, int] = (1000, 1020, 990, 1010),
    volume: int = 100_000,
    amount: float | None = None,
    reserved: int = 65536,
    *,
    divisor: int = 100,
    unit: int = 1,
) -> bytes:
    """One record; without ``amount``, one that fits the close at this divisor and unit."""
    if amount is None:
        amount = prices[3] / divisor * volume * unit
    return struct.pack("<IIIIIfII", day, *prices, amount, volume, reserved)


def records(days: Iterable[int], **options: Any) -> bytes:
    """Equal records on several days."""
    return b"".join(record(day, **options) for day in days)


def put(root: Path, name: str, content: bytes) -> Path:
    """Write a file like ``sz000001.day`` where it belongs below a vipdoc root."""
    path = root / name[:2].lower() / "lday" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class DirectChannel:
    """Runs effects at once, each in a transaction of its own, as a worker does, but with no lease to prove."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.cancelled = False
        self.effects: list[str] = []
        self.fractions: list[float | None] = []
        self.lines: list[LogLine] = []
        self.cancel_after: int | None = None
        self.fail_after: int | None = None
        self.outages: dict[str, int] = {}  # how often an effect of this name still finds no database
        self.answers_lost = 0  # of those, how many were committed all the same

    def progress(self, fraction: float | None, message: str) -> None:
        self.fractions.append(fraction)

    def log(self, line: LogLine) -> None:
        self.lines.append(line)

    def apply(self, effect: str, rows: list[Any]) -> Any:
        if self.fail_after is not None and len(self.effects) >= self.fail_after:
            raise ConnectionError("the worker died here")
        self.effects.append(effect)
        away = self.outages.get(effect, 0) > 0
        if away:
            self.outages[effect] -= 1
            if not self.answers_lost:
                raise DatabaseUnavailable("no answer")
            self.answers_lost -= 1
        with self.database.begin() as conn:
            found = run_effect(conn, effect, rows)
        if away:
            raise DatabaseUnavailable("the answer to the COMMIT was lost")
        if self.cancel_after is not None and len(self.effects) >= self.cancel_after:
            self.cancelled = True
        return found

    def transaction(self, context: Context) -> AbstractContextManager[Transaction]:
        raise NotImplementedError("imports open no transaction of their own")


class Importer:
    """Imports from two roots into one database; ``channel`` is that of the latest run."""

    def __init__(self, database: Database, tdx_root: Path | None, csv_root: Path | None = None) -> None:
        self.database = database
        self.tdx_root = tdx_root
        self.csv_root = csv_root
        self.channel = DirectChannel(database)

    def __call__(self, *, task_id: str = "t", attempt: int = 1, generation: int = 0, **data: Any) -> dict[str, Any]:
        """Run one task with this ``task_data`` and return its result."""
        request = ImportRequest.model_validate(data)
        lease = Lease(1, "token", attempt)
        task = Task(lease, task_id, "data_import", "{}", "default", 5, generation, None, 3, 0, 0, 0)
        source = open_source(request, tdx_root=self.tdx_root, csv_root=self.csv_root)
        return run(request, Context(task, self.channel), source)


def bars(database: Database, symbol: str = "000001.SZ") -> list[Any]:
    """The stored bars of a symbol by time and source."""
    with database.read() as conn:
        found = select(market_bars).where(market_bars.c.symbol == symbol)
        return list(conn.execute(found.order_by(market_bars.c.ts, market_bars.c.source)))


def rows(database: Database, table: Table) -> list[Any]:
    """All rows of a table by its key."""
    with database.read() as conn:
        return list(conn.execute(select(table).order_by(*table.primary_key.columns)))
