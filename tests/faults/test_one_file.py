"""SQLite: one process per file, and a file that stays sound however that process ends."""

from __future__ import annotations

import sqlite3
import threading
import time

import httpx2
import pytest

from tests.faults.fleet import Fleet, wait_for
from tests.processes import Process, free_port


def test_a_second_process_is_refused_with_the_way_out(alone: Fleet) -> None:
    first = alone.worker(port=free_port())
    first.wait_healthy()
    others = {command: alone.worker(port=free_port(), command=command) for command in ("worker", "up", "api")}
    for command, second in others.items():
        assert second.wait(20) == 2, command
        assert "JOBRUNNER_DATABASE_URL" in second.errors + second.output
        assert first.url in second.errors + second.output
        assert "Traceback" not in second.errors
    assert first.exit_code is None
    assert first.stop() == 0
    again = alone.worker("--until-empty", port=0)
    assert again.wait(20) == 0


@pytest.mark.parametrize(
    "kills", [3, pytest.param(10, marks=pytest.mark.ci), pytest.param(500, marks=pytest.mark.long)]
)
@pytest.mark.timeout(3_000)
def test_kills_in_the_middle_of_writes_leave_a_sound_file(alone: Fleet, kills: int) -> None:
    """A client writes as fast as it can while the process works; each kill falls where it falls."""
    alone.make_ledger_table()
    alone.close()
    accepted: list[str] = []
    unknown: list[str] = []
    for number in range(kills):
        node = alone.worker(port=free_port())
        node.wait_healthy()
        submitting = threading.Thread(target=_submit, args=(alone, node, number, accepted, unknown))
        submitting.start()
        have = len(accepted)
        wait_for(lambda have=have: len(accepted) > have + 5, "tasks are accepted", 10)  # type: ignore[misc]
        time.sleep((number * 37 % 50) / 100)
        node.kill()
        submitting.join()
        with sqlite3.connect(alone.url.removeprefix("sqlite:///")) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"after kill {number + 1}"
        file.close()
    last = alone.worker("--until-empty", port=0, max_workers="4")
    assert last.wait(60) == 0
    found = alone.history()
    taken = {row.task_id for row in found.rows} & set(unknown)
    alone.accepted = accepted + sorted(taken)  # of these nobody was told, and the database decides
    found = alone.prove(
        f"{kills} x kill -9 while writing", effects=True, unanswered=len(unknown), of_them_taken=len(taken)
    )
    assert all(row.status == "completed" for row in found.rows)
    assert len(accepted) > kills * 5


def _submit(alone: Fleet, node: Process, number: int, accepted: list[str], unknown: list[str]) -> None:
    """Submit until nobody answers any more."""
    with httpx2.Client(base_url=node.url, timeout=10) as http:
        for count in range(100_000):
            task_id = f"k{number}-{count}"
            data = {"ledger": str(alone.ledger), "effect": "fault.row"}
            try:
                answer = http.post(
                    "/api/v1/task/execute",
                    json={"task_id": task_id, "task_type": "fault.async", "task_data": data},
                )
            except httpx2.TransportError:
                unknown.append(task_id)
                return
            assert answer.status_code == 202, answer.text
            accepted.append(task_id)
