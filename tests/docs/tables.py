"""Markdown that the written references share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table and an empty one, without columns that say nothing; nothing where it would have no row."""
    found = [headers, *rows]
    columns = [at for at in range(len(headers)) if any(row[at].strip() for row in found[1:])]
    told = [_row([row[at] for at in columns]) for row in found]
    if columns:
        yield from (told[0], "|" + "---|" * len(columns), *told[1:], "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in cells)} |"
