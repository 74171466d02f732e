"""SQLite files that cannot be written: a full disk is waited out and loses nothing, a closed door is told at once."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.faults import rest
from tests.faults.fleet import Fleet
from tests.processes import Processes, free_port

USAGE = 2  # the exit code of what its user has to change


class Mounts:
    """File systems of a test's own: root may write whatever its mode says, and no disk is full otherwise."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened

    def memory(self, folder: Path, mb: int) -> Path:
        """A disk of this size."""
        folder.mkdir()
        self._run("-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", str(folder))
        self._opened.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
        return folder

    def read_only(self, path: Path) -> None:
        """From now on nobody may write there."""
        self._run("--bind", str(path), str(path))
        self._opened.callback(subprocess.run, ["umount", "--lazy", str(path)], check=True)
        self._run("-o", "remount,bind,ro", str(path))

    def _run(self, *args: str) -> None:
        try:
            done = subprocess.run(["mount", *args], capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount command here")
        if done.returncode != 0:
            pytest.skip(f"this user may not mount file systems: {done.stderr.strip()}")


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """They are gone when the test is."""
    with ExitStack() as opened:
        yield Mounts(opened)


@pytest.mark.ci
@pytest.mark.parametrize("closed", ["folder", "jobrunner.db", "jobrunner.db.lock"])
def test_what_cannot_be_written_is_told_in_a_sentence(alone: Fleet, mounts: Mounts, closed: str) -> None:
    home = alone.home / "files"
    home.mkdir()
    file = Path(alone.url.removeprefix("sqlite:///")).rename(home / "jobrunner.db")
    (home / "jobrunner.db.lock").touch()
    alone.url = f"sqlite:///{file}"
    alone.keeps = False  # it cannot
    mounts.read_only(home if closed == "folder" else home / closed)
    start = time.monotonic()
    asked = [alone.worker(port=0), alone.worker(port=0, command="up"), alone.worker("upgrade", command="db")]
    asked.append(alone.worker(command="status"))
    for one in asked:
        assert one.wait(20) == USAGE, one.command
        told = one.errors + one.output
        assert "cannot be written" in told
        assert "JOBRUNNER_DATABASE_URL" in told
        assert "Traceback" not in told
        assert "internal error" not in told
    print(f"FIGURE {closed} read-only: {len(asked)} commands refused within {time.monotonic() - start:.1f} s")


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_full_disk_is_waited_out(processes: Processes, sqlite_url: str, tmp_path: Path, mounts: Mounts) -> None:
    """Nothing new is accepted, what was accepted waits, and all goes on once there is room."""
    disk = mounts.memory(tmp_path / "disk", 3)
    file = disk / "jobrunner.db"
    file.write_bytes(Path(sqlite_url.removeprefix("sqlite:///")).read_bytes())
    fleet = Fleet(processes, f"sqlite:///{file}", tmp_path)
    fleet.close()
    node = fleet.worker(port=free_port())
    node.wait_healthy()
    data = {"ledger": str(fleet.ledger), "seconds": 0.3}
    accepted = [f"before-{number}" for number in range(8)]
    for name in accepted:
        rest.execute(node.url, name, "fault.async", data)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as full:
        for size in (65_536, 1):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    full.write(b"x" * size)
    refused: set[int] = set()
    begun = time.monotonic()
    with httpx2.Client(base_url=node.url, timeout=30) as http:
        for number in range(500):  # the log's own pages have to be used up as well
            name = f"full-{number}"
            request = {"task_id": name, "task_type": "fault.async", "task_data": {**data, "seconds": 0.0}}
            answer = http.post("/api/v1/task/execute", json=request)
            if answer.status_code in (200, 202):
                accepted.append(name)
            else:
                refused.add(answer.status_code)
            if refused and time.monotonic() - begun > 5:
                break
    assert refused <= {503, 507}, refused
    assert refused, "the disk was never full: the test means nothing"
    assert node.exit_code is None
    filler.unlink()
    freed = time.monotonic()
    rest.execute(node.url, "after", "fault.async", data)
    accepted.append("after")
    for name in accepted:
        assert rest.wait(node.url, name)["status"] == "completed", name
    took = time.monotonic() - freed
    assert "Traceback" not in node.errors
    assert node.stop() == 0
    with sqlite3.connect(file) as looked_at:
        assert looked_at.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    looked_at.close()
    unanswered = {row.task_id for row in fleet.history().rows} - set(accepted)
    assert unanswered == set(), "what was refused was not stored"
    fleet.accepted = accepted
    found = fleet.prove("SQLite, a full disk", answers_then=len(refused), all_done_after=took)
    fleet.close()
    assert {row.status for row in found.rows} == {"completed"}
