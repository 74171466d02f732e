"""The shipped import, killed at each of its steps: a load that a dead worker left is as if it had run once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

import jobrunner.data_import  # noqa: F401  registers the task type
from jobrunner.data_import import load, run
from jobrunner.data_import.sample import SESSIONS, write_sample
from jobrunner.db.market import import_loads, import_outcomes, import_rejects, market_bars
from jobrunner.handlers import Context
from jobrunner.testing import Report, survive

pytestmark = pytest.mark.timeout(600)  # a process for each attempt

TIMES = ("updated_at", "started_at", "at", "seconds", "attempt")  # when, for how long, and in which attempt
PRELOAD = (
    "jobrunner.data_import.run",
    "jobrunner.data_import.sources.tongdaxin",
    "jobrunner.settings.loading",
    "numpy.ma",
)
DAMAGED = "009999.SZ"  # for rejects and warnings to come twice, if they did


def _state(conn: Connection) -> Mapping[str, Any]:
    found: dict[str, Any] = {
        table.name: conn.execute(select(*(column for column in table.c if column.name != "finished_at"))).all()
        for table in (market_bars, import_loads, import_outcomes)
    }
    found["rejects"] = conn.execute(select(import_rejects.c.symbol, import_rejects.c.position, import_rejects.c.reason))
    found["finished"] = conn.execute(select(import_loads.c.finished_at.is_not(None)))
    return found


def _rehearse(root: Path, monkeypatch: pytest.MonkeyPatch, *others: str, **options: Any) -> Report:
    root = root / "vipdoc"
    write_sample(root)
    damaged = root / "sz" / "lday" / "sz009999.day"
    damaged.write_bytes(damaged.read_bytes() + b"tail")
    monkeypatch.setenv("JOBRUNNER_TDX_ROOT", str(root))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # numpy's threads would be there when the process forks
    payload = {"symbols": [DAMAGED, *others]}
    report = survive("data_import", payload, state=_state, ignore=TIMES, preload=PRELOAD, max_attempts=1, **options)
    assert report.result["inserted"] == SESSIONS * (1 + ("609999.SH" in others))
    assert all(step.reached for step in report.steps)
    clean = sum(step.clean for step in report.steps)
    print(f"FIGURE data_import killed at {len(report.steps)} steps: {clean} as if it had run once")
    return report


@pytest.mark.long
def test_an_import_killed_at_each_of_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _rehearse(tmp_path, monkeypatch).check()


def _forget() -> None:
    """An import that does not heed what an earlier attempt committed."""
    apply = run._apply

    def forgetful(ctx: Context, effect: str, row: dict[str, Any]) -> Any:
        found = apply(ctx, effect, row)
        return [] if effect == load.BEGIN else found

    run._apply = forgetful


@pytest.mark.ci
def test_an_import_that_forgets_what_is_done_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = _rehearse(tmp_path, monkeypatch, fakes=_forget, at=[25, 26])
    assert [step.name for step in report.unclean] == ["ctx.apply import_symbol: after COMMIT"]


@pytest.mark.long
def test_an_import_of_some_that_fail_killed_at_each_of_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    report = _rehearse(tmp_path, monkeypatch, "609999.SH", "000001.SZ", "no symbol", database_url=database_url)
    assert report.result["failed_count"] == 2
    report.check()
