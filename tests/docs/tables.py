"""Markdown that the written references share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table and an empty one; nothing where it would have no row."""
    told = [_row(cells) for cells in rows]
    if told:
        yield from (_row(headers), "|" + "---|" * len(headers), *told, "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in cells)} |"
