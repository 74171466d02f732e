"""The arithmetic of a report: ratios, medians, percentiles, goals and bars."""

from __future__ import annotations

import pytest

from jobrunner.bench.figure import Figure, Goal, Measured, middle, percentile
from jobrunner.bench.report import HEADERS, WIDTH, bar, rows
from jobrunner.bench.rounds import in_turn


def _figure(goal: Goal | None = None, *, more: bool = True) -> Figure:
    return Figure("drain", "tasks/s", (10.0, 30.0, 20.0), (20.0, 20.0, 20.0), "bare", more, goal)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    figure = Figure("drain", "tasks/s", (2.0, 100.0, 30.0), (10.0, 100.0, 60.0))
    assert figure.ratios == (0.2, 1.0, 0.5)
    assert figure.ratio == 0.5
    assert Figure("drain", "tasks/s", (10.0, 20.0, 90.0), (20.0, 80.0, 30.0)).ratio == 0.5, "not 20 over 30"


def test_a_round_without_anything_beside_it_has_no_ratio() -> None:
    assert Figure("idle", "%", (1.0, 2.0), (0.0, 4.0)).ratios == (0.5,)
    assert Figure("idle", "%", (1.0,)).ratio is None


@pytest.mark.parametrize(
    ("goal", "more", "reached"),
    [
        (None, True, None),
        (Goal(1.0), True, True),
        (Goal(1.1), True, False),
        (Goal(1.0), False, True),
        (Goal(0.9), False, False),
        (Goal(20.0, "ours"), True, True),
        (Goal(20.1, "ours"), True, False),
        (Goal(19.0, "ours"), False, False),
    ],
)
def test_goals(goal: Goal | None, more: bool, reached: bool | None) -> None:
    assert _figure(goal, more=more).reached is reached


def test_a_goal_without_a_value_is_neither_reached_nor_missed() -> None:
    assert Figure("idle", "%", (1.0,), (), goal=Goal(1.0)).reached is None


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (1, 50, 95, 99, 100)] == [1.0, 50.0, 95.0, 99.0, 100.0]
    assert percentile([7.0], 1) == percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0], 50) == 1.0
    assert percentile([1.0, 2.0], 51) == 2.0


def test_nothing_has_no_median() -> None:
    assert middle(()) is None
    assert middle((3.0, 1.0, 2.0)) == 2.0


def test_a_document_says_everything() -> None:
    told = _figure(Goal(0.5)).document()
    assert told == {
        "name": "drain",
        "unit": "tasks/s",
        "rounds": 3,
        "ours": [10.0, 30.0, 20.0],
        "bare": [20.0, 20.0, 20.0],
        "bare_is": "bare",
        "ours_median": 20.0,
        "bare_median": 20.0,
        "ratio": 1.0,
        "ratio_min": 0.5,
        "ratio_max": 1.5,
        "more_is_better": True,
        "goal": {"value": 0.5, "of": "ratio"},
        "reached": True,
    }


def test_work_adds_up() -> None:
    measured = Measured()
    measured.did("ours", 3)
    measured.did("ours", 4)
    measured.did("bare", 1)
    assert measured.work == {"ours": 7, "bare": 1}


def test_a_row_has_a_cell_for_each_header() -> None:
    figures = [_figure(Goal(1.0)), _figure(Goal(30.0, "ours"), more=False), Figure("alone", "MB", (1_234.5,))]
    first, second, third = rows({"figures": [figure.document() for figure in figures]})
    assert len(first) == len(second) == len(third) == len(HEADERS)
    cells = dict(zip(HEADERS, first, strict=True))
    assert (cells["ours"], cells["bare"], cells["ratio"], cells["range"]) == ("20.00", "20.00", "1.00", "0.5-1.50")
    assert (cells["goal"], cells["reached"], cells["bar"]) == ("≥ 1.00", "ok", "█" * WIDTH)
    assert second[HEADERS.index("goal")] == "≤ 30.00 tasks/s"
    assert dict(zip(HEADERS, third, strict=True)) == {
        **dict.fromkeys(HEADERS, ""),
        "figure": "alone",
        "ours": "1,234",
        "unit": "MB",
    }


def test_bars_are_as_long_as_ratios() -> None:
    assert [len(bar(ratio)) for ratio in (0.0, 0.5, 1.0, 1.5)] == [0, WIDTH // 2, WIDTH, WIDTH * 3 // 2]
    assert bar(0.51) > bar(0.5)
    assert bar(50.0) == bar(90.0) == "█" * 40 + "…"


def test_the_sides_take_turns_at_beginning() -> None:
    begun: list[str] = []

    def side(name: str) -> str:
        begun.append(name)
        return name

    for number in range(3):
        assert in_turn(number, lambda: side("ours"), lambda: side("bare")) == ("ours", "bare")
    assert begun == ["bare", "ours", "ours", "bare", "bare", "ours"]
