"""Which columns of a table fit a terminal, and how wide each is. Pure: widths in, widths out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDE_GAP, GAP = 2, 1  # cells between two columns: where all fit, and where each cell counts
WHOLE = 24  # cells up to which a column is never folded: every status, number and time
FOLDED = 16  # cells that a longer text takes at least
NARROWEST = 4  # cells that a column keeps, whatever the terminal

ALWAYS = frozenset({"status", "state", "outcome", "level", "detail", "fix", "value"})
"""What a table is looked at for, besides its first column."""

LEAST = frozenset(
    {"reason", "queue", "progress", "started_at", "ended_at", "error_class", "timezone", "address", "pid"}
)
"""What is left out first."""


@dataclass(frozen=True)
class Fit:
    """The columns that are shown, by position, with their widths; and the names of those that had no room."""

    widths: dict[int, int]
    gap: int
    left_out: tuple[str, ...] = ()


def fit(headers: Sequence[str], natural: Sequence[int], empty: Sequence[bool], room: int) -> Fit:
    """Choose columns for ``room`` cells. ``natural`` is what each takes unfolded, ``empty`` whether it says nothing."""
    places = range(len(headers))
    if sum(natural) + WIDE_GAP * (len(headers) - 1) <= room:
        return Fit(dict(zip(places, natural, strict=True)), WIDE_GAP)
    least = [width if at == 0 or width <= WHOLE else FOLDED for at, width in enumerate(natural)]
    shown = [at for at in places if at == 0 or headers[at] in ALWAYS]
    others = [at for at in places if at not in shown and not empty[at]]
    for at in sorted(others, key=lambda at: headers[at] in LEAST):
        if sum(least[one] + GAP for one in (*shown, at)) - GAP <= room:
            shown.append(at)
    widths = {at: least[at] for at in sorted(shown)}
    space = room - GAP * (len(widths) - 1)
    while sum(widths.values()) > space and max(widths.values()) > NARROWEST:
        widths[max(widths, key=lambda at: widths[at])] -= 1
    while sum(widths.values()) < space and (lacking := [at for at in widths if widths[at] < natural[at]]):
        widths[min(lacking, key=lambda at: widths[at])] += 1
    return Fit(widths, GAP, tuple(headers[at] for at in others if at not in widths))
