"""Source ``tongdaxin``: a ``vipdoc`` folder of TDX, ``{sh,sz,bj}/lday/{market}{code}.day``.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from jobrunner.data_import import quality
from jobrunner.data_import.errors import DataError, SourceUnset, SymbolNotFound
from jobrunner.data_import.frame import Frame
from jobrunner.data_import.kinds import BOND, Kind, kind_of
from jobrunner.data_import.paths import read_below
from jobrunner.data_import.sources.day_file import MAX_BYTES, measure, read_day
from jobrunner.data_import.sources.scale import follows_bonds
from jobrunner.data_import.symbols import MARKETS, parse_symbol, symbol_of

NAME = "tongdaxin"
SETTING = "JOBRUNNER_TDX_ROOT"

_FILE = re.compile(r"(sh|sz|bj)([0-9]{6})\.day", re.IGNORECASE)
_PROBES = 20  # bonds that are asked for their scale before it is guessed


class Vipdoc:
    """The daily files below one root, found without regard to the case of their names."""

    name = NAME

    def __init__(self, root: str | Path | None) -> None:
        if not root:
            raise SourceUnset(f"no folder is set for source {NAME}: set {SETTING} to a vipdoc folder, or to one above")
        self.root = Path(root)
        self._files: dict[str, list[Path]] = {}
        for market, path in _day_files(_vipdoc(self.root)):
            match = _FILE.fullmatch(path.name)
            if match and match[1].upper() == market:
                self._files.setdefault(symbol_of(market, match[2]), []).append(path)
        self._bonds_divisor: int | None = None
        self._bonds_asked = False

    def symbols(self) -> list[str]:
        """Every symbol that has a file, sorted."""
        return sorted(self._files)

    def resolve(self, text: str) -> str:
        """The canonical symbol of ``text``; raises BadSymbol. It need not have a file."""
        return parse_symbol(text, self._files.keys())

    def read(self, symbol: str, start: date | None = None, end: date | None = None) -> Frame:
        """The checked bars of a canonical symbol from ``start`` to ``end``; raises a DataError."""
        kind = kind_of(symbol)
        frame = read_day(self._content(symbol), symbol, kind, fallback=lambda: self._fallback(kind))
        quality.in_range(frame, start, end)
        quality.check(frame, strict=kind.traded, leaps=kind.measured)
        return frame

    def _content(self, symbol: str) -> bytes:
        paths = self._files.get(symbol)
        if not paths:
            code, market = symbol.lower().split(".")
            raise SymbolNotFound(f"{symbol} has no file {market}/lday/{market}{code}.day")
        if len(paths) > 1:
            raise DataError(f"{symbol} has {len(paths)} files whose names differ in case only: keep one")
        return read_below(self.root, paths[0].absolute(), limit=MAX_BYTES)

    def _fallback(self, kind: Kind) -> tuple[int, str | None]:
        if follows_bonds(kind):
            divisor = self._bonds()
            if divisor is not None:
                return divisor, None
            return kind.divisor, f"no bond shows the scale of this root: prices taken as 1/{kind.divisor}"
        return kind.divisor, f"no trade in the file shows its scale: prices taken as 1/{kind.divisor}"

    def _bonds(self) -> int | None:
        """The divisor that the first bonds of the root agree on by majority: it changed with the year of the copy."""
        if not self._bonds_asked:
            self._bonds_asked = True
            votes: list[int] = []
            for symbol in [s for s in self._files if _is_bond(s)][:_PROBES]:
                try:
                    divisor = measure(self._content(symbol), BOND)
                except DataError:
                    continue  # told when that bond itself is imported
                if divisor is not None:
                    votes.append(divisor)
            self._bonds_divisor = max(set(votes), key=votes.count) if votes else None
        return self._bonds_divisor


def _is_bond(symbol: str) -> bool:
    try:
        return kind_of(symbol) is BOND
    except DataError:
        return False


def _vipdoc(root: Path) -> Path:
    """``root`` itself, or the folder ``vipdoc`` in it."""
    folders = _folders(root)
    if any(market.lower() in folders for market in MARKETS):
        return root
    if "vipdoc" in folders:
        return folders["vipdoc"][0]
    raise SourceUnset(f"{SETTING} names a folder that holds neither sh, sz or bj nor a folder vipdoc")


def _day_files(vipdoc: Path) -> Iterator[tuple[str, Path]]:
    folders = _folders(vipdoc)
    for market in MARKETS:
        for folder in folders.get(market.lower(), []):
            for lday in _folders(folder).get("lday", []):
                yield from ((market, path) for path in _entries(lday))


def _folders(parent: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in _entries(parent):
        if path.is_dir():
            found.setdefault(path.name.lower(), []).append(path)
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise SourceUnset(f"the folder that {SETTING} names cannot be read: {error.strerror}") from error
