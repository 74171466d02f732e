"""The shipped import, killed at each of its steps: a load that a dead worker left is as if it had run once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

import jobrunner.data_import  # noqa: F401  registers the task type
from jobrunner.data_import.sample import SESSIONS, write_sample
from jobrunner.db.market import import_loads, import_outcomes, import_rejects, market_bars
from jobrunner.testing import Report, survive

pytestmark = pytest.mark.timeout(600)  # a process for each attempt

TIMES = ("updated_at", "started_at", "at", "seconds", "attempt")  # when, for how long, and in which attempt
PRELOAD = (
    "jobrunner.data_import.run",
    "jobrunner.data_import.sources.tongdaxin",
    "jobrunner.settings.loading",
    "numpy.ma",
)
SYMBOLS = ["609999.SH", "009999.SZ"]


def _state(conn: Connection) -> Mapping[str, Any]:
    found: dict[str, Any] = {
        table.name: conn.execute(select(*(column for column in table.c if column.name != "finished_at"))).all()
        for table in (market_bars, import_loads, import_outcomes)
    }
    found["rejects"] = conn.execute(select(import_rejects.c.symbol, import_rejects.c.position, import_rejects.c.reason))
    found["finished"] = conn.execute(select(import_loads.c.finished_at.is_not(None)))
    return found


def _rehearse(root: Path, monkeypatch: pytest.MonkeyPatch, url: str | None = None, **options: Any) -> Report:
    write_sample(root)
    damaged = root / "sz" / "lday" / "sz009999.day"
    damaged.write_bytes(damaged.read_bytes() + b"tail")  # for rejects and warnings to come twice, if they did
    monkeypatch.setenv("JOBRUNNER_TDX_ROOT", str(root))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # numpy's threads would be there when the process forks
    payload = {"symbols": SYMBOLS}
    report = survive(
        "data_import", payload, database_url=url, state=_state, ignore=TIMES, preload=PRELOAD, max_attempts=1, **options
    )
    assert report.result["inserted"] == 2 * SESSIONS
    assert all(step.reached for step in report.steps)
    clean = sum(step.clean for step in report.steps)
    print(f"FIGURE data_import killed at {len(report.steps)} steps: {clean} as if it had run once")
    return report


def test_an_import_killed_at_each_of_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _rehearse(tmp_path, monkeypatch).check()


@pytest.mark.ci
def test_an_import_killed_at_each_of_its_steps_on_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    _rehearse(tmp_path, monkeypatch, postgres_url).check()
