"""An import over several workers, of which some are killed: every bar is there, and none twice."""

from __future__ import annotations

import time
from datetime import date, timedelta

import pytest
from sqlalchemy import func, select

from jobrunner.db.market import import_outcomes, market_bars
from jobrunner.db.tables import nodes, tasks
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.data_import.support import put, record
from tests.faults.fleet import Fleet, wait_for
from tests.processes import Process

SYMBOLS, DAYS, EACH = 60, 1_500, 6


@pytest.mark.ci
def test_an_import_survives_its_workers(fleet: Fleet) -> None:
    days = [int(f"{date(2020, 1, 1) + timedelta(days=n):%Y%m%d}") for n in range(DAYS)]
    root = fleet.home / "vipdoc"
    for number in range(SYMBOLS):
        put(root, f"sz{number + 1:06}.day", b"".join(record(day, volume=100 + number) for day in days))
    symbols = [f"{number + 1:06}.SZ" for number in range(SYMBOLS)]
    with fleet.database.begin() as conn:
        made = [
            new_task("data_import", {"symbols": symbols[at : at + EACH], "data_source": "tongdaxin"}, max_attempts=1)
            for at in range(0, SYMBOLS, EACH)
        ]
        fleet.accepted += [one.task_id for one in store.enqueue_many(conn, made)]

    def bars() -> int:
        with fleet.database.read() as conn:
            return int(conn.execute(select(func.count()).select_from(market_bars)).scalar_one())

    workers = [fleet.worker(tdx_root=str(root), max_workers="1") for _ in range(3)]
    start = time.monotonic()
    killed = 0
    for share in (0.15, 0.4, 0.65):
        wait_for(lambda share=share: bars() >= share * SYMBOLS * DAYS, f"{share:.0%} of the bars", 60)  # type: ignore[misc]
        wait_for(lambda: bool(_busy(fleet, workers)), "somebody imports", 10)
        victim = _busy(fleet, workers)[0]
        workers.remove(victim)
        victim.kill()
        killed += 1
        workers.append(fleet.worker(tdx_root=str(root), max_workers="1"))
    fleet.wait_until_ended(90)
    took = time.monotonic() - start
    with fleet.database.read() as conn:
        per = select(
            market_bars.c.symbol, func.count(), func.sum(market_bars.c.volume), func.max(market_bars.c.revision)
        )
        found = {row[0]: tuple(row[1:]) for row in conn.execute(per.group_by(market_bars.c.symbol))}
        outcomes = conn.execute(select(import_outcomes.c.symbol, import_outcomes.c.status)).all()
    assert found == {name: (DAYS, DAYS * (100.0 + n), 0) for n, name in enumerate(symbols)}
    assert sorted(one.symbol for one in outcomes) == symbols, "each symbol told once, by the load that wrote it"
    assert {one.status for one in outcomes} == {"imported"}
    told = fleet.prove(f"import of {SYMBOLS * DAYS} bars, {killed} of the workers killed", seconds=took)
    assert all(row.status == "completed" for row in told.rows)
    assert told.lost >= 1, "no kill met an import: the test means nothing"
    for worker in workers:
        assert worker.stop() == 0


def _busy(fleet: Fleet, workers: list[Process]) -> list[Process]:
    """Those of the workers that hold an import at this moment."""
    with fleet.database.read() as conn:
        held = select(nodes.c.pid).join(tasks, tasks.c.node_id == nodes.c.id).where(tasks.c.status == "running")
        pids = set(conn.execute(held).scalars())
    return [worker for worker in workers if worker.pid in pids]
