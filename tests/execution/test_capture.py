"""What attempts that share a process log is kept once, whoever begins to keep it beside whom."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobrunner.execution import capture, interpreter


def test_of_many_that_begin_at_once_each_line_is_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_installed", False)
    monkeypatch.setattr(logging.Logger, "callHandlers", capture._handed_on)
    kept: list[str] = []
    monkeypatch.setattr(capture._kept, "emit", lambda record: kept.append(record.getMessage()))
    ready = threading.Barrier(8)

    def begin(_number: int) -> None:
        ready.wait(15)
        capture.keep_own()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    logging.getLogger("any").warning("a line")
    assert kept == ["a line"]


def test_too_many_threads_are_no_end_of_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not interpreter.ends()

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert not interpreter.ends()
