"""Where bars come from: one file per source.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Protocol

from jobrunner.data_import.frame import Frame
from jobrunner.data_import.request import ImportRequest


class Source(Protocol):
    """What a load reads from."""

    name: str

    def symbols(self) -> list[str]:
        """Every symbol that it has."""

    def resolve(self, text: str) -> str:
        """The canonical symbol of a text; raises BadSymbol."""

    def read(self, symbol: str, start: date | None = None, end: date | None = None) -> Frame:
        """The checked bars of a canonical symbol; raises a DataError."""


def open_source(request: ImportRequest, *, tdx_root: str | Path | None, csv_root: str | Path | None) -> Source:
    """The source that a request asks for, on the operator's folders; raises SourceUnset where one is missing."""
    if request.source_name == "csv":
        from jobrunner.data_import.sources.csv import CsvFile  # pandas: 0.3 s and 100 MB, which .day files never pay

        return CsvFile(
            csv_root,
            request.file or "",
            request.csv_symbol,
            columns={str(field): name for field, name in (request.columns or {}).items()},
            zone=request.timezone or "Asia/Shanghai",
            close=request.close or time(15, 0),
            date_order=request.date_order,
            encoding=request.encoding or "utf-8",
        )
    from jobrunner.data_import.sources.tongdaxin import Vipdoc

    return Vipdoc(tdx_root)
