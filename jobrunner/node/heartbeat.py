"""The node's row and the renewal of its leases: two statements, on a connection and in a thread of their own.

Never in the handlers' loop: one that computes for two seconds would silence the node for as long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.node.held import Held
from jobrunner.node.host import Host
from jobrunner.node.state import Identity, State
from jobrunner.queue import store
from jobrunner.queue.store import Renewal
from jobrunner.settings.failpoints import hit

RETRY = 1.0  # seconds until the next try after a failure
DEADLINE = 5.0  # seconds for one statement: far under any sensible lease
MEASURING = 0.5  # seconds for the node's figures, before its row is written without new ones

log = get_logger(__name__)


def _nobody(_drains: bool) -> None:
    return None


class Heartbeat:
    """Renews what is held every ``lease_seconds / 3``, and the node's row every heartbeat interval.

    ``renewed`` hears, in the heartbeat's thread, which tasks were lost and which somebody asked to cancel. What could
    not be renewed is unknown, not lost: the token decides at the end. ``drains`` hears there whenever the node is told
    to claim nothing, or to claim again.
    """

    def __init__(
        self,
        database: Database,
        identity: Identity,
        state: State,
        held: Held,
        host: Host,
        *,
        lease_seconds: float,
        types: Sequence[dict[str, Any]],
        renewed: Callable[[Renewal], None],
        drains: Callable[[bool], None] = _nobody,
    ) -> None:
        self._database = database
        self._identity = identity
        self._state = state
        self._held = held
        self._host = host
        self._lease_seconds = lease_seconds
        self._types = types
        self._renewed = renewed
        self._drains = drains
        self._told_to_drain = self._news = False
        self._told_stuck: tuple[int, ...] = ()
        self._interval = identity.heartbeat_interval
        self._wake = threading.Event()
        self._stopping = False
        self._look_now = False
        self._measuring: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register the node and publish its types, then beat. Raises DatabaseUnavailable."""
        self._measure()
        self._register()
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Stop beating and say goodbye in the node's row, if the database can be reached."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=DEADLINE + 1)
        try:
            with self._database.begin(deadline=DEADLINE) as conn:
                store.stopped(conn, self._identity.id, reason)
        except DatabaseUnavailable as error:
            log.warning("the node's row still says that it lives", error=str(error))

    def look(self) -> None:
        """Renew at once: somebody hinted at a cancel."""
        self._look_now = True
        self._wake.set()

    def _register(self) -> None:
        with self._database.begin(deadline=DEADLINE) as conn:
            stuck = self._state.stuck_in
            columns = {**self._identity.columns(stuck), **self._state.columns()}
            store.register(conn, columns, drains=self._told_to_drain)
            store.publish(conn, self._types)
        self._told_stuck = stuck

    def _run(self) -> None:
        beat_due = renew_due = time.monotonic()
        while not self._stopping:
            self._wake.wait(max(0.0, min(beat_due, renew_due) - time.monotonic()))
            self._wake.clear()
            moment = time.monotonic()
            if self._look_now or moment >= renew_due:
                self._look_now = False
                # Where nothing is held nobody was asked, and nothing is known of the database.
                fine = not self._held.leases() or self._try(self._renew)
                renew_due = moment + (self._lease_seconds / 3 if fine else RETRY)
            if moment >= beat_due:
                beat_due = moment + self._rest_after(self._try(self._beat))

    def _rest_after(self, fine: bool) -> float:
        """Seconds until the next beat: soon where this one brought news, so that its row tells what came of them."""
        news, self._news = self._news, False
        return RETRY if not fine else min(RETRY, self._interval) if news else self._interval

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except DatabaseUnavailable as error:
            if not self._state.database_lost:
                log.warning("database lost; what runs goes on", error=str(error))
            self._state.database_lost = True
            return False
        except Exception:  # whatever it is, a silent heartbeat would make every task here run twice
            log.exception("heartbeat failed; it is tried again")
            return False
        if self._state.database_lost:
            log.info("database is back")
        self._state.database_lost = False
        return True

    def _renew(self) -> None:
        leases = self._held.leases()
        if not leases:
            return
        hit("renew-before")
        with self._database.begin(deadline=DEADLINE) as conn:
            renewal = store.renew(conn, leases, self._lease_seconds)
        hit("renew-after")
        self._renewed(renewal)

    def _measure(self) -> None:
        """New figures, where they come in time. A mount that hangs once kept every lease from being renewed."""
        if self._measuring is None or not self._measuring.is_alive():
            self._measuring = threading.Thread(target=self._sample, name="figures", daemon=True)
            self._measuring.start()
            self._measuring.join(MEASURING)

    def _sample(self) -> None:
        try:
            hit("sample-before")
            self._state.figures = self._host.sample()
        except Exception:
            log.exception("figures cannot be had; the last ones stand")

    def _beat(self) -> None:
        self._measure()
        figures, stuck = self._state.columns(), self._state.stuck_in
        if stuck != self._told_stuck:
            figures["pools"] = self._identity.pools_column(stuck)
        with self._database.begin(deadline=DEADLINE) as conn:
            beat = store.beat(conn, self._identity.id, figures, sample=True)
        self._told_stuck = stuck
        if not beat.there:  # its row was pruned during an outage
            self._register()
        elif beat.drains != self._told_to_drain:
            self._told_to_drain, self._news = beat.drains, True
            log.info("told to claim nothing" if beat.drains else "told to claim again")
            self._drains(beat.drains)
