"""Hints between processes: "there is work", "somebody cancelled", "I wait for these", "these have ended".

Polling is the truth; a lost hint costs a moment. PostgreSQL: NOTIFY, from a connection of its own after the commit,
coalesced. In every enqueue it would cost three quarters of the throughput, since such commits queue behind one lock of
the server; what is told seldom may go with what it tells of (:func:`jobrunner.db.notes.beside`). SQLite, being one
process, needs no wire.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import Escaping, ExecStatus

from jobrunner.db.engine import DEADLINE, Database
from jobrunner.db.notes import CHANNEL, ENDS, WORK, Notes, columns
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger

COALESCE = 0.005  # seconds between two NOTIFYs of one topic by one process
# Seconds that this grows to while work is told of on and on: eight processes that each sent one every 5 ms lost a third
# of their rate, and a worker that finds work looks again soon by itself.
RAREST = 0.1
CHECK = 15.0  # seconds of silence after which the listening connection is tried
RECONNECT = 2.0  # seconds between two tries to listen again
IDS_MOST = 10_000  # that wait for being sent

log = get_logger(__name__)


class Hints:
    """Sends hints and hears those of others; ``heard`` is called with each, in a thread of this object.

    ``listen`` is False for a process that does not work, ``ends`` True for one that waits for the end of tasks. A topic
    that is sent here reaches this process at once, by ``own`` (else ``heard``) in the sender's thread, and not a second
    time over the wire; only a note that goes with a commit is heard by its own process as by all others.
    """

    def __init__(
        self,
        database: Database,
        heard: Callable[[str], None],
        *,
        own: Callable[[str], None] | None = None,
        listen: bool = True,
        ends: bool = False,
    ) -> None:
        self._database = database
        self._heard = heard
        self._own = own or heard
        self._remote = not database.is_sqlite
        self._channels = [*([CHANNEL] if listen else []), *([ENDS] if ends else [])]
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[str, None]] = {}  # topics, and the task_ids that they name
        self._sent_at: dict[str, float] = {}
        self._gaps: dict[str, float] = {}
        self._stopped = threading.Event()
        self._bell, self._ringer = socket.socketpair()
        for end in (self._bell, self._ringer):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        """Start sending and listening."""
        if self._remote:
            self._thread.start()

    def stop(self) -> None:
        """Stop both; a hint that waits is sent first, as far as that takes no longer than two seconds."""
        self._stopped.set()
        self._ring()
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self._bell.close()
            self._ringer.close()

    def send(self, topic: str) -> None:
        """Hint at once to this process, and within milliseconds to all others. Never blocks, never fails."""
        self._own(topic)
        self.tell(topic)

    def tell(self, topic: str, task_ids: Collection[str] = ()) -> None:
        """Hint to all others alone, about these tasks. Never blocks, never fails."""
        if not self._remote:
            return
        with self._lock:
            new = topic not in self._waiting
            ids = self._waiting.setdefault(topic, {})
            if len(ids) + len(task_ids) <= IDS_MOST:
                ids.update(dict.fromkeys(task_ids))
            early = time.monotonic() < self._may_go_at(topic)
        if new and not early:  # the thread looks again by itself when it may go: to wake it costs as much as to hint
            self._ring()

    def hear_ends(self) -> None:
        """From now on hear of ends too, and surely of those that follow what is told hereafter."""
        if ENDS not in self._channels:
            self._channels.append(ENDS)

    def _ring(self) -> None:
        with suppress(OSError):  # full, so it rings already; or closed
            self._ringer.send(b"!")

    def _run(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._bell, selectors.EVENT_READ)
            while not self._done():
                if self._channels or self._waiting:  # nothing is opened before there is anything to hear or to send
                    self._stay(ready)
                elif ready.select():
                    self._bell.recv(64)

    def _stay(self, ready: selectors.BaseSelector) -> None:
        """One connection's life."""
        try:
            with self._database.detached() as link:
                number = link.fileno()
                ready.register(number, selectors.EVENT_READ)
                try:
                    self._attend(link, ready)
                finally:
                    ready.unregister(number)  # by its number: a broken link does not know it any more
            return
        except DatabaseUnavailable as error:
            log.debug("no hints, polling goes on", error=str(error))
        except Exception:
            log.exception("no hints, polling goes on")
        if self._stopped.wait(RECONNECT):
            self._waiting = {}

    def _done(self) -> bool:
        return self._stopped.is_set() and not self._waiting

    def _attend(self, link: Any, ready: selectors.BaseSelector) -> None:
        """Send and hear over this connection until told to stop."""
        own = link.info.backend_pid

        def noted(note: Any) -> None:
            if note.pid != own:
                self._heard(note.payload)

        link.add_notify_handler(noted)
        listening: set[str] = set()
        spoken = time.monotonic()
        demotions = self._database.demotions
        while not self._done():
            if self._database.demotions != demotions:  # such a server lets us listen, and nobody speaks there any more
                return
            link.pgconn.consume_input()  # first of all: what has come is somebody's work
            while note := link.pgconn.notifies():
                spoken = time.monotonic()
                link.pgconn.notify_handler(note)
                time.sleep(0)  # who was told goes on at once, and not when this thread lets go of the interpreter
            if self._speak(link, listening, checks=time.monotonic() >= spoken + CHECK):
                spoken = time.monotonic()  # and some may have come with the answer
            elif ready.select(min(self._rest(), spoken + CHECK - time.monotonic())):
                with suppress(BlockingIOError):
                    self._bell.recv(64)

    def _speak(self, link: Any, listening: set[str], *, checks: bool) -> bool:
        """Listen where that is new, and send what may be sent; False where there was nothing to say."""
        due = self._take()  # first: who hears ends from now on must do so before anybody is told
        fresh = [channel for channel in self._channels if channel not in listening]
        if not (fresh or due or checks):
            return False
        try:
            with self._database.guard(link, DEADLINE):
                _say(link, fresh, due)
        except BaseException:
            for topic, task_ids in due.items():
                self.tell(topic, task_ids)
            raise
        listening.update(fresh)
        if CHANNEL in fresh:
            self._heard(WORK)  # whatever was hinted at while nobody listened
        return True

    def _take(self) -> dict[str, Collection[str]]:
        """What waits and may be sent now: a topic that was sent a moment ago waits for more of it."""
        if not self._waiting:
            return {}
        with self._lock:
            moment = time.monotonic()
            due: dict[str, Collection[str]] = {
                topic: self._waiting.pop(topic)
                for topic in [*self._waiting]
                if self._stopped.is_set() or moment >= self._may_go_at(topic)
            }
            for topic in due:
                self._gaps[topic] = self._gap_after(topic, moment)
                self._sent_at[topic] = moment
        return due

    def _may_go_at(self, topic: str) -> float:
        return self._sent_at.get(topic, 0.0) + self._gaps.get(topic, COALESCE)

    def _gap_after(self, topic: str, moment: float) -> float:
        """Seconds until this topic may be sent again after now."""
        gap = self._gaps.get(topic, COALESCE)
        on_and_on = topic == WORK and moment - self._sent_at.get(topic, 0.0) < 2 * gap
        return min(2 * gap, max(RAREST, COALESCE)) if on_and_on else COALESCE

    def _rest(self) -> float:
        """Seconds until something may be sent, whether it waits by now or not."""
        if self._stopped.is_set():
            return 0.0
        with self._lock:
            moment = time.monotonic()
            if any(moment >= self._may_go_at(topic) for topic in self._waiting):
                return 0.0
            ahead = [at - moment for at in map(self._may_go_at, self._sent_at) if at > moment]
        return min(ahead, default=CHECK)


def _say(link: Any, channels: Sequence[str], hints: Notes) -> None:
    """Listen, and ``notify`` at a third of its price; without either it only sees whether one answers.

    Not by psycopg's own ``execute``, which calls the handler of notes in the middle of it, who uses this link too.
    """
    escaping = Escaping(link.pgconn)
    told = [b"LISTEN %b" % channel.encode() for channel in channels]
    told += [
        b"NOTIFY %b, %b" % (channel.encode(), escaping.escape_literal(payload.encode()))
        for channel, payload in zip(*columns(hints), strict=True)
    ]
    result = link.pgconn.exec_(b"; ".join(told))
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY):
        raise psycopg.OperationalError(result.get_error_message())
