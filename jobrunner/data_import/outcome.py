"""What a load came to for one symbol, and the result of a whole load. Values only: no SQL, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

TOLD = 50  # failures and warnings spelled out in a result; the rest is counted, and stands in import_outcomes
MAX_TEXT = 2000


@dataclass(slots=True)
class SymbolOutcome:
    """One symbol of one load. ``first`` and ``last`` are sessions as YYYY-MM-DD; ``seconds`` is the reading.

    ``status``: ``imported`` (bars were written), ``unchanged`` (all were there), ``empty`` (the source has none in
    the wanted range), ``failed`` (``error`` says why).
    """

    symbol: str
    status: str = "empty"
    rows_read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    first: str | None = None
    last: str | None = None
    error_class: str | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    attempt: int = 0

    @property
    def bars(self) -> int:
        """The bars that the source had, whether they were new or not."""
        return self.inserted + self.updated + self.unchanged

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)


def nothing_imported(outcomes: Sequence[SymbolOutcome]) -> str:
    """The error of a load of which every symbol failed."""
    reasons = "; ".join(f"{each.symbol}: {each.error}" for each in outcomes[:3])
    return f"all {len(outcomes)} symbols failed: {reasons}"


def is_nothing_imported(error: str) -> bool:
    """Whether an error is that of a load which ran to its end, and of which every symbol failed."""
    return re.match(r"all [0-9]+ symbols failed: ", error) is not None


def result(source: str, load_id: str, outcomes: Iterable[SymbolOutcome], seconds: float) -> dict[str, Any]:
    """The result of a load: the guide's keys first, then what happened in detail."""
    every = list(outcomes)
    brought = [o for o in every if o.bars]
    failed = [o for o in every if o.status == "failed"]
    warnings = [f"{o.symbol}: {warning}" for o in every for warning in o.warnings]
    return {
        "task_type": "data_import",
        "symbols_count": len(every),
        "imported_count": len(brought),
        "total_records": sum(o.bars for o in every),
        "data_source": source,
        "status": "completed",
        "inserted": sum(o.inserted for o in every),
        "updated": sum(o.updated for o in every),
        "unchanged": sum(o.unchanged for o in every),
        "rejected": sum(o.rejected for o in every),
        "empty_count": sum(o.status == "empty" for o in every),
        "failed_count": len(failed),
        "failures": [{"symbol": o.symbol, "reason": o.error} for o in failed[:TOLD]],
        "warnings_count": len(warnings),
        "warnings": warnings[:TOLD],
        "first": min((o.first for o in brought if o.first), default=None),
        "last": max((o.last for o in brought if o.last), default=None),
        "load_id": load_id,
        "seconds": round(seconds, 3),
    }
