"""Source ``csv``: one file of daily bars of one symbol, with named columns, plain or gzip.

Loads numpy and pandas: import it only in the process that imports data.
"""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobrunner.data_import import quality
from jobrunner.data_import.errors import BadFile, SourceUnset, SymbolNotFound
from jobrunner.data_import.frame import BAR, Frame, Reject
from jobrunner.data_import.paths import read_below
from jobrunner.data_import.sources.csv_columns import FIELDS, match_columns
from jobrunner.data_import.sources.csv_dates import DateOrder, parse_days

NAME = "csv"
SETTING = "JOBRUNNER_CSV_ROOT"
MAX_BYTES = 64 << 20
MAX_LINES = 50_000  # two centuries of sessions
_MAX_RATIO = 100  # unpacked to packed; a file of daily bars packs five- to twentyfold
_SPARE = 32  # columns beyond the header's, so that a line with too many fields is a reject and not the end


class CsvFile:
    """One file below the operator's root, read as the bars of one symbol."""

    name = NAME

    def __init__(
        self,
        root: str | Path | None,
        file: str,
        symbol: str,
        *,
        columns: Mapping[str, str] | None = None,
        zone: str = "Asia/Shanghai",
        close: time = time(15, 0),
        date_order: DateOrder | None = None,
        encoding: str = "utf-8",
    ) -> None:
        if not root:
            raise SourceUnset(f"no folder is set for source {NAME}: set {SETTING} to the folder that holds the files")
        self.root, self.file, self.symbol = Path(root), Path(file), symbol
        self.columns, self.zone, self.close = dict(columns or {}), zone, close
        self.date_order, self.encoding = date_order, "utf-8-sig" if encoding == "utf-8" else encoding

    def symbols(self) -> list[str]:
        """The one symbol that the request gave the file."""
        return [self.symbol]

    def resolve(self, text: str) -> str:
        """The symbol as it was given: foreign files follow no notation of ours."""
        return text

    def read(self, symbol: str, start: date | None = None, end: date | None = None) -> Frame:
        """The checked bars from ``start`` to ``end``; raises a DataError."""
        if symbol != self.symbol:
            raise SymbolNotFound(f"{self.file.name} holds {self.symbol}, not {symbol}")
        if self.file.is_absolute() or ".." in self.file.parts:
            raise BadFile(f"{self.file.name}: name the file by a path below the folder set for this source")
        table = self._table(_unpacked(read_below(self.root, self.file, limit=MAX_BYTES), self.file.name))
        frame = self._frame(table)
        quality.in_range(frame, start, end)
        quality.check(frame, strict=False)
        return frame

    def _table(self, content: bytes) -> pd.DataFrame:
        """Every field as text, the header's names as columns, and one column ``None`` for what lies beyond them."""
        try:
            text = content.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise BadFile(f"{self.file.name} is not {self.encoding.removesuffix('-sig')}: {error.reason}") from error
        try:
            table = pd.read_csv(io.StringIO(text), nrows=0, skipinitialspace=True, skip_blank_lines=False, dtype=str)
            names = [str(name) for name in table.columns]
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # it drops fields and says no more than that
                body = pd.read_csv(
                    io.StringIO(text),
                    header=None,
                    skiprows=1,
                    names=list(range(len(names) + _SPARE)),
                    dtype=str,
                    keep_default_na=False,
                    skipinitialspace=True,
                    skip_blank_lines=False,
                    index_col=False,
                    nrows=MAX_LINES + 1,
                )
        except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
            raise BadFile(f"{self.file.name} is no CSV file: {error}") from error
        if len(body) > MAX_LINES:
            raise BadFile(f"{self.file.name} has more than {MAX_LINES:,} lines, too many for daily bars of one symbol")
        body = body.fillna("").apply(lambda column: column.str.strip())
        return body.rename(columns=dict(enumerate(names)))

    def _frame(self, table: pd.DataFrame) -> Frame:
        names = [name for name in table.columns if isinstance(name, str)]
        beyond = [name for name in table.columns if not isinstance(name, str)]
        chosen = match_columns(names, self.columns, self.file.name)
        position = np.arange(2, len(table) + 2)  # the header is line 1

        def raw(at: int) -> dict[str, Any]:
            record = table.iloc[at - 2]
            return {str(name): str(record[name]) for name in table.columns if name in names or record[name]}

        bars = np.zeros(len(table), dtype=BAR)
        bars["position"] = position
        days = parse_days(table[chosen["date"]].to_numpy(dtype=object), self.date_order)
        bars["session"] = days.sessions
        problem = np.full(len(table), "", dtype=object)
        problem[~days.valid] = "the date cannot be read"
        for name in FIELDS[1:]:
            bars[name], bad = _numbers(table, chosen.get(name))
            problem[bad & (problem == "")] = f"{name} is no number"
        problem[(table[beyond] != "").any(axis=1).to_numpy()] = "the line has more fields than the header"

        blank = (table == "").all(axis=1).to_numpy()
        good = (problem == "") & ~blank
        frame = Frame(self.symbol, bars[good], 1, self.zone, self.close, raw)
        for index in np.flatnonzero(~good & ~blank):
            frame.rejects.append(Reject(int(position[index]), str(problem[index])))
        if "volume" not in chosen:
            frame.warnings.append("the file has no volume")
        return frame


def _numbers(table: pd.DataFrame, column: str | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column's numbers, NaN where it is empty, and the mask of what is neither."""
    if column is None:
        return np.full(len(table), np.nan), np.zeros(len(table), dtype=np.bool_)
    text = table[column]
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    return numbers, np.isnan(numbers) & (text != "").to_numpy()


def _unpacked(content: bytes, name: str) -> bytes:
    """The bytes themselves, or what they unpack to; a file that swells beyond reason is refused half-way."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    limit = min(MAX_BYTES, max(len(content) * _MAX_RATIO, 1 << 20))
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            plain = packed.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{name} is damaged: {error}") from error
    if len(plain) > limit:
        raise BadFile(f"{name} unpacks to more than {limit:,} bytes")
    return plain
