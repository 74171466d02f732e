"""A table on a terminal has room for what it shows: ids, statuses and times stand whole, the rest is named."""

from __future__ import annotations

import re

import pytest

from jobrunner.cli.fitting import fit
from tests.cli.conftest import Jr

HEADERS = ("task_id", "task_type", "status", "reason", "queue", "progress", "created_at", "error")
NATURAL = (36, 11, 9, 9, 7, 8, 19, 400)
FULL = (False,) * len(HEADERS)
ID = "019ace3b-6d53-7f3c-9d57-28e3b6e0f5c1"


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (120, ["task_id", "task_type", "status", "queue", "created_at", "error"]),
        (80, ["task_id", "task_type", "status", "created_at"]),
        (60, ["task_id", "task_type", "status"]),
        (40, ["task_id", "status"]),
    ],
)
def test_what_there_is_room_for(room: int, shown: list[str]) -> None:
    found = fit(HEADERS, NATURAL, FULL, room)
    assert [HEADERS[at] for at in found.widths if HEADERS[at] != "reason"] == shown
    assert {*(HEADERS[at] for at in found.widths), *found.left_out} == set(HEADERS)
    assert sum(found.widths.values()) + found.gap * (len(found.widths) - 1) <= room
    assert all(found.widths[at] == NATURAL[at] for at in found.widths if HEADERS[at] not in ("task_id", "error"))
    assert found.widths[0] == (36 if room > 40 else 30)


def test_where_all_fits_nothing_is_left_out_and_an_empty_column_is_not_missed() -> None:
    assert fit(HEADERS, NATURAL, FULL, 600).left_out == ()
    empty = tuple(header == "error" for header in HEADERS)
    found = fit(HEADERS, (36, 11, 9, 9, 7, 8, 19, 5), empty, 106)
    assert 7 not in found.widths
    assert found.left_out == ()


def test_the_narrowest_terminal_still_shows_all_that_always_is() -> None:
    found = fit(("check", "level", "detail", "fix"), (11, 5, 90, 90), (False,) * 4, 10)
    assert [*found.widths.values()] == [4] * 4


def test_a_list_on_a_terminal(jr: Jr, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    assert jr("submit", "data_import_of", "--task-id", ID).code == 0
    for name, value in {"FORCE_COLOR": "1", "TERM": "dumb", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    told = jr("list")
    [header, line] = [re.sub(r"\x1b\[[0-9;]*m", "", one).rstrip() for one in told.out.splitlines()]
    assert re.fullmatch(rf"{ID} data_import_of pending( \S+| \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d)+", line), line
    assert header.startswith("task id")
    assert max(len(header), len(line)) <= 80
    assert "reason, queue" in told.err
    assert "--json" in told.err
