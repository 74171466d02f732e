"""``jobrunner bench`` does the work that it says it did, leaves nothing behind, and touches nobody's tasks.

Never a time: a smoke on a busy machine knows none.
"""

from __future__ import annotations

import json
import secrets
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from jobrunner.bench.scratch import PREFIX
from jobrunner.bench.tasks import NOOP
from jobrunner.db.engine import open_database
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.processes import Process, Processes

SOON = ("drain", "latency", "enqueue")
LATER = ("roundtrip", "children", "api", "growth", "snapshot", "idle")

# The beginnings of figures' names, for each measurement.
EXPECTED = {
    "drain": {"drain, 1 worker"},
    "latency": {"start latency"},
    "roundtrip": {"round trip"},
    "enqueue": {"enqueue, single", "enqueue, many, 100"},
    "children": {"plain function, 2 children"},
    "api": {f"api{who} {what}" for who in ("", ", own task_id,") for what in ("rate", "p50", "p99")} | {"api memory"},
    "growth": {"claim of 100, 2 k pending: p50", "claim of 100, 2 k pending, 2 k ended: p50", "cold start: first task"},
    "snapshot": {"old snapshot: claim p50", "old snapshot: start delay p99", "old snapshot: waiting at the end"},
    "idle": {"idle: all", "idle: worker", "idle: memory"},
}
ONLY_ON_POSTGRES = {
    "drain": {"drain, 1 worker: WAL"},
    "enqueue": {"enqueue, single, caller's SQLAlchemy", "enqueue, 2 writers"},
    "growth": {"claim of 100, 2 k pending: buffers"},
    "idle": {"idle: "},
}


def _plainly(url: str) -> str:
    return url.replace("+psycopg", "")


def _bench(processes: Processes, *args: str, url: str | None = None) -> Process:
    temporary = processes.home / "temporary"
    temporary.mkdir(exist_ok=True)
    env = {"TMPDIR": str(temporary)} | ({"JOBRUNNER_DATABASE_URL": url} if url else {})
    return processes.start("bench", *args, env=env)


def _report(processes: Processes, names: tuple[str, ...], url: str | None = None) -> Any:
    process = _bench(processes, *names, "--quick", "--json", url=url)
    assert process.wait(110) == 0, process.tail()
    report = json.loads(process.output)
    _check(report, names, url)
    assert list((processes.home / "temporary").iterdir()) == []
    return report


def _check(report: Any, names: tuple[str, ...], url: str | None) -> None:
    figures = {figure["name"]: figure for figure in report["figures"]}
    for name in names:
        expected = EXPECTED[name] | (ONLY_ON_POSTGRES.get(name, set()) if url else set())
        assert {one for one in expected if not any(known.startswith(one) for known in figures)} == set()
        assert report["work"][name]["ours"] > 0
        assert name == "children" or report["work"][name]["bare"] > 0
    assert set(report["work"]) == set(names)
    assert all(figure["rounds"] == len(figure["ours"]) == 1 for figure in figures.values())
    assert all(len(figure["bare"]) in (0, 1) for figure in figures.values())
    assert ("PostgreSQL" if url else "SQLite") in report["database"]
    if "drain" in names:
        assert report["work"]["drain"] == {"ours": 300, "bare": 300}, (
            "each of them seen completed, at its first attempt"
        )
    if "enqueue" in names:
        added = 20 + 100 * 15 if url is None else 20 + 20 + 100 * 15 + 20  # one by one, many at once, by the writers
        assert report["work"]["enqueue"] == {"ours": added, "bare": added}


def _schemas(url: str) -> list[str]:
    with psycopg.connect(_plainly(url)) as conn:
        found = conn.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [PREFIX])
        return [name for (name,) in found]


@pytest.fixture
def crowded_url(postgres_url: str) -> str:
    """A database in use: a task waits in it that every worker of a bench could run."""
    database = open_database(postgres_url)
    with database.begin() as conn:
        store.enqueue(conn, new_task(NOOP, {}, task_id="mine"))
    database.dispose()
    return postgres_url


def _untouched(url: str) -> None:
    with psycopg.connect(_plainly(url)) as conn:
        assert conn.execute("SELECT task_id, status, attempt FROM tasks").fetchall() == [("mine", "pending", 0)]
        assert conn.execute("SELECT count(*) FROM nodes").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM task_types").fetchone() == (0,)
    assert _schemas(url) == []


@pytest.mark.ci
def test_on_sqlite(processes: Processes) -> None:
    _report(processes, SOON)
    assert not list(processes.home.glob("**/*.db")), "the file of measurements is gone, and the user's was never made"


@pytest.mark.ci
def test_on_postgres(processes: Processes, crowded_url: str) -> None:
    _report(processes, SOON, crowded_url)
    _untouched(crowded_url)


@pytest.mark.long
@pytest.mark.parametrize("names", [LATER[:3], LATER[3:4], LATER[5:]], ids=" ".join)
def test_the_rest_on_sqlite(processes: Processes, names: tuple[str, ...]) -> None:
    _report(processes, names)


@pytest.mark.long
@pytest.mark.parametrize("names", [LATER[:3], LATER[3:4], LATER[4:]], ids=" ".join)
def test_the_rest_on_postgres(processes: Processes, crowded_url: str, names: tuple[str, ...]) -> None:
    _report(processes, names, crowded_url)
    _untouched(crowded_url)


@pytest.mark.ci
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_bench_that_is_stopped_leaves_nothing(processes: Processes, crowded_url: str, stop: signal.Signals) -> None:
    process = _bench(processes, "drain", url=crowded_url)
    _wait_for_a_worker(crowded_url)
    process.signal(stop)
    assert process.wait(60) == 130, process.tail()
    _untouched(crowded_url)
    assert list((processes.home / "temporary").iterdir()) == []


def _wait_for_a_worker(url: str) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(_plainly(url), autocommit=True) as conn:
        while time.monotonic() < deadline:
            for schema in _schemas(url):
                made = conn.execute("SELECT to_regclass(%s)", [f"{schema}.nodes"]).fetchone()
                count = f"SELECT count(*) FROM {schema}.nodes".encode()
                if made != (None,) and conn.execute(count).fetchone() != (0,):
                    return
            time.sleep(0.05)
    raise TimeoutError("no worker of the bench came up")


@pytest.mark.ci
def test_what_cannot_be_measured_is_refused(processes: Processes, tmp_path: Path) -> None:
    for args, told in (
        (("drian",), "drian is none of drain, latency"),
        (("snapshot",), "snapshot needs PostgreSQL"),
        (("drain", "--workers", "1,x"), "'1,x' is no list of numbers"),
        (("drain", "--seconds", "inf"), "less than or equal to 86400"),
    ):
        process = _bench(processes, *args)
        assert process.wait(30) == 2
        assert told in process.errors
    gone = _bench(processes, "drain", "--database-url", "postgresql://nobody@127.0.0.1:1/none")
    assert gone.wait(30) == 7
    assert "cannot be reached" in gone.errors
    assert list((tmp_path / "temporary").iterdir()) == []


def test_who_may_make_no_schema_is_told_what_to_grant(processes: Processes, postgres_url: str) -> None:
    name = f"guest_{secrets.token_hex(4)}"
    with psycopg.connect(_plainly(postgres_url), autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN".encode())
        try:
            host = urlsplit(_plainly(postgres_url))
            guest = host._replace(netloc=f"{name}:topsecret@{host.netloc.rpartition('@')[2]}").geturl()
            process = _bench(processes, "drain", "--quick", "--database-url", guest)
            assert process.wait(30) == 2
        finally:
            conn.execute(f"DROP ROLE {name}".encode())
    assert f"GRANT CREATE ON DATABASE {host.path[1:]} TO {name}" in process.errors
    assert "topsecret" not in process.errors
