"""What is drawn again and again on a terminal: what it shows while nothing can be seen, and where no terminal is."""

from __future__ import annotations

import os
import pty
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from jobrunner.cli import live
from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.cli.scripted import Scripted, Told, scripted

AWAY: Told = (503, {"code": "database_unavailable", "detail": "the database is away"})
REFUSED: Told = (403, {"code": "forbidden", "detail": "this key may not"})
LISTS: Told = (
    200,
    {
        "verdict": "ok",
        "nodes_alive": 0,
        "waiting_seconds": 0.0,
        "counts": {"pending": 7},
        "nodes": [],
        "queues": [],
        "tasks": [],
        "next_cursor": None,
    },
)


def _tasks(task_id: str) -> Told:
    task = dict.fromkeys(("reason", "progress", "created_at", "error"))
    task |= {"task_id": task_id, "task_type": "add", "status": "pending", "queue": "q", "priority": 5, "attempt": 0}
    return 200, {"tasks": [task], "next_cursor": None}


class _Terminal:
    """A terminal as standard output; ``text`` is what it showed."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.stream = open(theirs, "w")  # noqa: SIM115 - closed with the terminal
        self._seen: list[bytes] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                self._seen.append(os.read(self._ours, 65_536))
            except OSError:  # the other end is closed
                return

    @property
    def text(self) -> str:
        """All of it, once the command has ended."""
        self.stream.close()
        self._reading.join(5)
        return b"".join(self._seen).decode()

    def close(self) -> None:
        self.stream.close()
        self._reading.join(5)
        os.close(self._ours)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Terminal]:
    """A terminal whose user presses Ctrl-C after the second frame."""
    frames: list[float] = []

    def sleep(seconds: float) -> None:
        frames.append(seconds)
        if len(frames) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(live, "time", SimpleNamespace(sleep=sleep, strftime=time.strftime))
    made = _Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    yield made
    made.close()


def _ends(jr: Jr, terminal: _Terminal, server: Scripted, *words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:  # only now: pytest sets its own anew for each part of a test
        patch.setattr("sys.stdout", terminal.stream)
        return jr(*words, "--url", server.url).code


@pytest.mark.parametrize(
    ("words", "then", "seen"),
    [
        (("top",), LISTS, "pending 7"),
        (("list", "--watch"), _tasks("watched-one"), "watched-one"),
        (("nodes", "--watch"), LISTS, "slots"),
        (("nodes", "list", "--watch", "--interval", "0.5"), LISTS, "slots"),
    ],
)
def test_it_goes_on_while_nothing_can_be_seen(
    jr: Jr, terminal: _Terminal, words: tuple[str, ...], then: Told, seen: str
) -> None:
    with scripted(AWAY, then) as server:
        assert _ends(jr, terminal, server, *words) == Exit.INTERRUPTED
    text = terminal.text
    assert "Nothing can be seen now: the database is away" in text
    assert seen in text
    assert text.count("Ctrl-C ends it") == 2


def test_it_ends_where_looking_is_not_permitted(jr: Jr, terminal: _Terminal) -> None:
    with scripted(REFUSED) as server:
        assert _ends(jr, terminal, server, "list", "--watch") == Exit.NOT_PERMITTED


def test_without_a_terminal_it_is_shown_once_and_says_so(jr: Jr) -> None:
    with scripted(_tasks("one")) as server:
        told = jr("list", "--watch", "--url", server.url)
        assert (told.code, told.rows[0]["task_id"], len(server.asked)) == (0, "one", 1)
        assert "it is shown once" in told.err
        told = jr("list", "--watch", "--json", "--url", server.url)
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert "--watch" in told.err
