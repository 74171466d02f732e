"""Schedules of the configuration file: spelled as in REST, and refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from jobrunner.background import schedules
from jobrunner.db.engine import Database
from jobrunner.errors import InvalidInput
from jobrunner.queue import views

NIGHTLY = {
    "name": "nightly",
    "cron": "30 17 * * 1-5",
    "timezone": "Asia/Shanghai",
    "task_type": "report",
    "task_data": {"day": 1},
}


def test_a_declared_schedule_is_there_once_however_often_it_is_declared(database: Database) -> None:
    for _ in range(2):
        with database.begin() as conn:
            schedules.declare(conn, [NIGHTLY, {"name": "beat", "every": 60, "task_type": "ping"}])
    with database.begin() as conn:
        found = {one.name: one for one in views.all_schedules(conn)}
    assert set(found) == {"nightly", "beat"}
    assert (found["nightly"].payload, found["nightly"].declared) == ({"day": 1}, True)
    assert found["beat"].payload == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task_dta": {}}, "/task_dta: unknown key"),
        ({"payload": {}}, "/payload: unknown key"),
        ({"cron": "30 17 * * 8"}, "day of week"),
        ({"every": 60}, "either cron or every"),
        ({"cron": 5}, "/cron: must be a text"),
        ({"cron": ["0 3 * * *"]}, "/cron: must be a text"),
        ({"timezone": None}, "/timezone: must be a text"),
        ({"cron": None, "every": 60, "timezone": "X/Y"}, "/timezone: there is no time zone"),
        ({"cron": None, "every": 10**400}, "/every: must be 1 to"),
        ({"cron": None, "every": "60"}, "/every: must be 1 to"),
        ({"timeout": 10**400}, "/timeout: must be more than 0"),
        ({"timeout": float("nan")}, "/timeout: must be more than 0"),
        ({"name": 5}, "/name: must have"),
        ({"task_type": []}, "/task_type: must be a text"),
        ({"task_data": [1]}, "/task_data: must be an object"),
    ],
)
def test_a_wrong_entry_is_refused_in_words(database: Database, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told), database.begin() as conn:
        schedules.declare(conn, [{**NIGHTLY, **changes}])
    with database.begin() as conn:
        assert views.all_schedules(conn) == []


def test_an_entry_without_its_type_is_refused_in_words(database: Database) -> None:
    with pytest.raises(InvalidInput, match="/task_type: is missing"), database.begin() as conn:
        schedules.declare(conn, [{"name": "nightly", "cron": "@daily"}])
