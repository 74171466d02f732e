"""A report as a table with bars."""

from __future__ import annotations

from typing import Any

HEADERS = ("figure", "ours", "bare", "unit", "ratio", "range", "goal", "reached", "bar", "bare_is")
WIDTH = 20  # characters of a bar of ratio 1
LONGEST = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"


def rows(report: dict[str, Any]) -> list[list[str]]:
    """The cells of each figure, under ``HEADERS``."""
    return [_row(figure) for figure in report["figures"]]


def _row(figure: dict[str, Any]) -> list[str]:
    ratio = figure["ratio"]
    spread = "" if ratio is None else f"{_number(figure['ratio_min'])}-{_number(figure['ratio_max'])}"
    return [
        figure["name"],
        _number(figure["ours_median"]),
        _number(figure["bare_median"]),
        figure["unit"],
        _number(ratio),
        spread,
        _goal(figure),
        {True: "ok", False: "missed", None: ""}[figure["reached"]],
        "" if ratio is None else bar(ratio),
        figure["bare_is"],
    ]


def _goal(figure: dict[str, Any]) -> str:
    goal = figure["goal"]
    if goal is None:
        return ""
    sign = "≥" if figure["more_is_better"] else "≤"
    return f"{sign} {_number(goal['value'])}" + ("" if goal["of"] == "ratio" else f" {figure['unit']}")


def bar(ratio: float) -> str:
    """A bar whose length is the ratio; ``WIDTH`` characters mean as much as the bare side."""
    length = min(ratio * WIDTH, LONGEST)
    whole = int(length)
    part = _EIGHTHS[int((length - whole) * 8)].strip()
    return "█" * whole + part + ("…" if ratio * WIDTH > LONGEST else "")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
