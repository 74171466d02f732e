"""Schedules by command."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from jobrunner.background import schedules
from jobrunner.db.engine import open_database
from jobrunner.db.tables import schedules as table
from jobrunner.db.types import db_now
from tests.cli.conftest import Jr
from tests.processes import Processes, free_port


def test_a_schedules_life(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["schedules", "add", "nightly", "report", "day=1", "--timezone", "Asia/Shanghai", "--priority", "2"]
    told = at(*words, "--cron", "30 17 * * 1-5")
    assert told.code == 2
    assert "no worker ever published 'report'" in told.err
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    told = at(*words, "--cron", "30 17 * * 1-5", "--json")
    assert (told.json["cron"], told.json["task_data"], told.json["paused"]) == ("30 17 * * 1-5", {"day": "1"}, False)
    assert at("schedules", "add", "beat", "ping", "--every", "5m").out.startswith("schedule beat fires next at 2")
    again = at("schedules", "add", "beat", "ping", "--every", "6m").out
    assert again.startswith("schedule beat is replaced and fires next at 2"), "what it was before is gone"
    assert {row["name"] for row in at("schedules", "list").rows} == {"nightly", "beat"}
    assert len(at("schedules", "list", "--json").json["schedules"]) == 2

    coming = at("schedules", "next", "nightly", "-n", "7", "--json").json
    assert len(coming["next"]) == 7
    assert all("T09:30:00" in instant for instant in coming["next"])
    rows = at("schedules", "next", "nightly", "-n", "6").rows
    assert {row["at"][11:] for row in rows} == {"17:30:00+08:00"}
    assert "Saturday" not in {row["weekday"] for row in rows}

    assert at("schedules", "pause", "nightly").out == "schedule nightly is paused\n"
    assert at("schedules", "resume", "nightly", "--json").json["paused"] is False
    ran = at("schedules", "run", "nightly", "--json").json
    task = at("status", ran["task_id"], "--json").json
    assert (task["task_type"], task["priority"], task["task_data"]) == ("report", 2, {"day": "1"})
    told = at("schedules", "remove", "nightly", "--dry-run")
    assert told.out.startswith("schedule nightly submits report, next at 2")
    assert at("schedules", "remove", "nightly", "--json").json == {"name": "nightly", "removed": True}
    for verb in ("remove", "pause", "resume", "run", "next"):
        told = at("schedules", verb, "nightly")
        assert told.code == 3, verb
        assert "nightly" in told.err


def test_schedules_that_make_no_sense(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    for words, named in (
        (["--cron", "61 * * * *"], "minute"),
        (["--cron", "0 0 * * *", "--timezone", "Asia/Shangai"], "Asia/Shanghai"),
        (["--cron", "0 0 * * *", "--every", "5m"], "either cron or every"),
        ([], "either cron or every"),
        (["--every", "0.5"], "every"),
    ):
        told = at("schedules", "add", "odd", "ping", *words)
        assert (told.code, told.out) == (2, "")
        assert named in told.err
    assert at("schedules", "list", "--json").json == {"schedules": []}


def test_what_is_said_changes_and_the_rest_stays(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    words = ["a=1", "b=2", "--cron", "30 17 * * 1-5", "--timezone", "Asia/Shanghai", "--timeout", "5m"]
    before = at("schedules", "add", "nightly", "report", *words, "--max-attempts", "7", "--json").json
    told = at("schedules", "edit", "nightly", "b:=3", "--queue", "slow", "--timeout", "none", "--json")
    assert told.json == {**before, "task_data": {"a": "1", "b": 3}, "queue": "slow", "timeout": None}
    told = at("schedules", "edit", "nightly", "--every", "5m", "--max-attempts", "none")
    assert told.out.startswith("schedule nightly is changed and fires next at 2")
    [known] = at("schedules", "list", "--json").json["schedules"]
    assert (known["cron"], known["every"], known["max_attempts"]) == (None, 300.0, None)
    told = at("schedules", "edit", "nightly", "--task-type", "other", "--priority", "1", "--json").json
    assert (told["task_type"], told["priority"], told["task_data"]) == ("other", 1, {"a": "1", "b": 3})
    told = at("schedules", "edit", "nightly", "c=1", "--replace", "--json").json
    assert told["task_data"] == {"c": "1"}
    assert at("schedules", "edit", "nightly", "--replace", "--json").json["task_data"] == {}
    assert at("schedules", "show", "nightly", "--json").json["task_data"] == {}
    assert "task_type\tother" in at("schedules", "show", "nightly").out
    assert at("schedules", "edit", "nightly", "--queue", "none", "--json").json["queue"] == "default"
    told = at("schedules", "edit", "nightly", "--priority", "none", "token=of-mine")
    assert "configuration file" not in told.err
    newest, *_, first = at("audit", "--json").json["changes"]
    assert (newest["action"], newest["details"]) == (
        "PATCH /api/v1/schedules/{name}",
        {"entry": {"priority": None}, "arguments": ["token"]},
    )
    assert (first["details"]["entry"]["cron"], first["details"]["arguments"]) == ("30 17 * * 1-5", ["a", "b"])

    for words, code, named in (
        ([], 2, "nothing is to change"),
        (["--cron", "61 * * * *"], 2, "minute"),
        (["--cron", "0 0 * * *", "--every", "5m"], 2, "either cron or every"),
        (["--max-attempts", "few"], 2, "'few' is no whole number; or write none"),
        (["--timeout", "long"], 2, "--timeout"),
        (["--timeout", ""], 2, "--timeout"),
        (["--max-attempts", ""], 2, "--max-attempts"),
    ):
        told = at("schedules", "edit", "nightly", *words)
        assert (told.code, told.out) == (code, ""), words
        assert named in told.err
    for words in (["edit", "nobody", "b=1"], ["edit", "nobody", "--every", "5m"], ["show", "nobody"]):
        told = at("schedules", *words)
        assert (told.code, told.out) == (3, "")


def test_the_doctor_sees_schedules_that_nobody_fires(
    at: Jr, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_PORT", str(free_port()))
    database = open_database(database_url)
    with database.begin() as conn:
        schedules.save(conn, "late", every=60, task_type="ping", allow_unknown=True)
        schedules.save(conn, "paused", every=60, task_type="ping", allow_unknown=True)
        schedules.pause(conn, "paused")

    def found() -> list[tuple[str, str]]:
        told = at("doctor", "--json").json["findings"]
        return [(one["level"], one["detail"]) for one in told if one["check"] == "schedules"]

    assert found() == [("ok", "2, none overdue")]
    with database.begin() as conn:
        conn.execute(update(table).where(table.c.name == "late").values(next_at=db_now(-90), error="no such zone"))
    database.dispose()
    assert found() == [("warn", "late: no such zone"), ("fail", "late should have fired more than a minute ago")]


def test_one_of_a_configuration_file_is_changed_until_the_next_start(at: Jr, database_url: str) -> None:
    database = open_database(database_url)
    with database.begin() as conn:
        schedules.declare(conn, [{"name": "nightly", "cron": "0 3 * * *", "task_type": "nobody-knows-yet"}])
    told = at("schedules", "edit", "nightly", "--cron", "0 4 * * *", "--json")
    database.dispose()
    assert (told.code, told.json["cron"], told.json["declared"]) == (0, "0 4 * * *", True)
    assert "the next start brings back what is said there" in told.err


def test_a_process_may_leave_schedules_to_others(jr: Jr, chores: str, processes: Processes) -> None:
    made = ("up", "--port", "0", "--handlers", chores)
    assert processes.run(*made, "--until-empty").exit_code == 0
    assert jr("schedules", "add", "beat", "add", "x:=1", "--every", "1s").code == 0
    alone = processes.run(*made, "--no-cron", "--idle-timeout", "2.5s")
    assert alone.exit_code == 0
    assert alone.errors.count("no schedule fires: ") == 1
    assert "schedule fired" not in alone.errors
    assert jr("list", "--quiet").out == ""
    other = processes.start(*made)
    other.wait_for_line("schedule fired")
    assert "no schedule fires" not in other.errors
