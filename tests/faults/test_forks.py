"""A handler in the worker forks, and the worker is killed: its copy stays, and holds nothing of the worker's."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import psutil
import pytest

from tests.faults.fleet import Fleet, wait_for
from tests.processes import Process, free_port


@pytest.mark.parametrize("with_pool", [False, True], ids=["fork", "pool"])
def test_a_forked_copy_of_a_killed_worker_holds_nothing(alone: Fleet, with_pool: bool) -> None:
    alone.submit("fault.forks", with_pool=with_pool)
    alone.close()
    worker = alone.ready(port=free_port())
    wardens = [child for child in psutil.Process(worker.pid).children() if any("warden" in w for w in child.cmdline())]
    assert len(wardens) == 1
    with _asked(worker) as line, _forked(alone) as copy:
        worker.kill()
        assert copy.is_running()
        assert line.recv(1) == b"", "who waits for an answer is told that none will come"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", worker.port or 0))
        wait_for(lambda: not wardens[0].is_running(), "the warden ends", 15)
        again = alone.ready("--queues", "another", port=worker.port)
        again.wait_healthy()
        assert again.stop() == 0


@contextmanager
def _asked(worker: Process) -> Iterator[socket.socket]:
    """A connection that was answered and stays open."""
    with closing(HTTPConnection("127.0.0.1", worker.port, timeout=5)) as http:
        http.request("GET", "/healthz")
        assert http.getresponse().read()
        yield http.sock


@contextmanager
def _forked(alone: Fleet) -> Iterator[psutil.Process]:
    """The copy, once there is one; its end is ours to see to, since nobody's mark is on it."""
    wait_for(lambda: bool(alone.lines_like("forked ")), "it forks", 20)
    copy = psutil.Process(int(alone.lines_like("forked ")[0].what.removeprefix("forked ")))
    try:
        yield copy
    finally:
        os.kill(copy.pid, signal.SIGKILL)
