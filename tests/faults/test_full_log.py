"""The disk of PostgreSQL's own log is full: the server panics and stays away until there is room again."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.faults.fleet import LEASE, Fleet, events, wait_for
from tests.faults.small_disk import small_disk
from tests.postgres import PrivateServer

SIZE = 80  # megabytes, of which four segments of the log take 64
AWAY = 4 * LEASE  # seconds


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_server_that_panics_for_want_of_room_is_waited_for(apart: Fleet, private_server: PrivateServer) -> None:
    with small_disk(private_server, SIZE) as inside:
        log = _move_log(private_server, inside)
        workers = [apart.ready("--node-name", f"n{number}") for number in range(2)]
        apart.submit("fault.async", 20, seconds=AWAY + 6.0)
        apart.wait_for_lines("begin", 20)
        filler = inside / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(65_536))
        with suppress(psycopg.OperationalError), psycopg.connect(private_server.url, autocommit=True) as conn:
            for _ in range(SIZE):  # to the end of the last segment that there is
                conn.execute("SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000000))")
        wait_for(
            lambda: "No space left on device" in private_server.log and private_server.pid is None, "it is gone", 40
        )
        assert "PANIC" in private_server.log
        apart.close()
        time.sleep(AWAY)
        filler.unlink()
        private_server.restart()
        up = time.monotonic()
        apart.wait_until_ended(60)
        found = apart.prove("the log's disk full, the server away", drained_after=time.monotonic() - up)
        assert found.lost == 0, "what still ran was run again"
        assert all(events(worker, "database lost") for worker in workers)
        assert [worker.stop() for worker in workers] == [0, 0]
        apart.close()
        private_server.stop("fast")
        assert log.is_symlink()


def _move_log(server: PrivateServer, to: Path) -> Path:
    server.stop("fast")
    log = server.data / "pg_wal"
    shutil.copytree(log, to / "pg_wal", copy_function=shutil.copy2)
    shutil.rmtree(log)
    log.symlink_to(to / "pg_wal")
    for path in (to / "pg_wal", *(to / "pg_wal").rglob("*")):
        shutil.chown(path, server.data.stat().st_uid, server.data.stat().st_gid)
    server.start()
    return log
