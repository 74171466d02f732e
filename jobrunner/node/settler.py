"""Records how attempts ended: many in one statement, and an effect together with its task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection, select

from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database
from jobrunner.db.notes import ENDED
from jobrunner.errors import DatabaseUnavailable
from jobrunner.handlers import run_effect
from jobrunner.handlers.effects import EFFECT_DEADLINE
from jobrunner.logs import get_logger
from jobrunner.node.lane import Fate, Lane, Settlement
from jobrunner.node.reports import Gathered
from jobrunner.queue import store
from jobrunner.queue.codec import clean_text
from jobrunner.queue.store import Settled
from jobrunner.queue.task import Ending, Lease, Outcome, Status, Task
from jobrunner.settings.failpoints import hit

__all__ = ["Fate", "Settler"]

# How often, and for how many seconds at least, effects are tried that cannot be written although the database answers:
# after a crash of the server each of a pool's connections may be found dead in turn, which took four tries in a second.
EFFECT_TRIES, EFFECT_PATIENCE = 5, 10.0
REPORT_EVERY = 0.5  # seconds between two writes of progress and logs

log = get_logger(__name__)


class Settler:
    """Takes outcomes from the worker and tells it, by ``recorded``, what became of each; asks it, by ``failed``, what
    an attempt came to whose effects raised an error.

    Those with effects, which are user code and may take long, have a thread of their own: they hold back no others.
    """

    def __init__(
        self,
        database: Database,
        reports: Gathered,
        ends: Ends,
        recorded: Callable[[Task, Outcome, Status | None], None],
        failed: Callable[[Task, Exception], Outcome],
    ) -> None:
        self._database = database
        self._reports = reports
        self._ends = ends
        self._failed = failed
        self._tries: dict[Lease, tuple[int, float]] = {}  # how often, and when first
        self._plain = Lane("settle", self._record, recorded, more=reports.waiting, tick=REPORT_EVERY)
        self._effects = Lane("effects", self._record_effects, recorded)

    def add(self, task: Task, outcome: Outcome, *, at_once: bool = False) -> None:
        """Record this outcome soon, together with others; ``at_once`` waits for none."""
        (self._effects if outcome.effects else self._plain).add(task, outcome, at_once=at_once)

    def idle(self) -> bool:
        """Whether everything is recorded."""
        return self._plain.idle() and self._effects.idle()

    def unrecorded(self) -> list[Settlement]:
        """What is not recorded yet, as far as is known. May be asked in any thread."""
        return self._plain.unwritten() + self._effects.unwritten()

    def close(self) -> None:
        """Stop once what waits is recorded."""
        self._plain.close()
        self._effects.close()

    async def run(self) -> None:
        """Record until closed."""
        await asyncio.gather(self._plain.run(), self._effects.run())

    def _record(self, batch: list[Settlement]) -> tuple[list[Fate], list[Settlement]]:
        if self._reports.waiting():
            self._report()
        hit("settle-before")
        fates = self._settle(batch)
        hit("settle-after-commit")
        return fates, []

    def _record_effects(self, batch: list[Settlement]) -> tuple[list[Fate], list[Settlement]]:
        fates: list[Fate] = []
        for number, one in enumerate(batch):
            try:
                fates.append(self._with_effects(*one))
            except DatabaseUnavailable as error:
                log.debug("effects wait for the database", task_id=one[0].task_id, error=str(error))
                return fates, [*batch[number + 1 :], one]  # the others first: it may be this one's own fault
        return fates, []

    def _report(self) -> None:
        told = self._reports.take()
        try:
            with self._database.begin() as conn:
                self._reports.write(conn, told)
        except DatabaseUnavailable:
            self._reports.give_back(told)
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with some lines, they are worth less than the worker
            log.error("progress and lines refused by the database", error=clean_text(error, 2_000))

    def _settle(self, batch: list[Settlement]) -> list[Fate]:
        if not batch:
            return []
        # What went well needs one statement, which is its own transaction.
        fine = all(outcome.ending is Ending.COMPLETED for _, outcome in batch)
        waited = self._waited_for(batch) if self._ends.watched else []
        try:
            with self._database.single() if fine else self._database.begin() as conn:
                settled = store.settle(conn, batch, notes={ENDED: waited} if waited else None)
                if not fine:
                    hit("settle-before-commit")
        except DatabaseUnavailable:
            raise
        except Exception as error:
            log.error("outcome refused by the database", count=len(batch), error=clean_text(error, 2_000))
            if len(batch) > 1:
                return [fate for one in batch for fate in self._settle([one])]
            unstorable = Outcome(Ending.ERROR, error="the outcome could not be stored", error_class="Unstorable")
            if batch[0][1] == unstorable:
                raise
            return self._settle([(batch[0][0], unstorable)])
        if waited:
            self._ends.told(waited)
        return [(task, outcome, one.status) for (task, outcome), one in zip(batch, settled, strict=True)]

    def _waited_for(self, batch: list[Settlement]) -> list[str]:
        """Which of them others hear of with the commit: a NOTIFY after it came a millisecond later."""
        return self._ends.waited_for(task.task_id for task, outcome in batch if outcome.ending is Ending.COMPLETED)

    def _with_effects(self, task: Task, outcome: Outcome) -> Fate:
        """Effects and the end of the task, both or neither; an effect that fails is the attempt's failure."""
        begun = False
        try:
            with self._database.begin(deadline=EFFECT_DEADLINE, free=True) as conn:
                begun = True
                fate = self._apply(conn, task, outcome)
                if fate.status is not Status.COMPLETED:
                    raise _NotCompleted
        except _NotCompleted:
            outcome = replace(outcome, effects=())
        except DatabaseUnavailable as error:
            if not (begun and self._hopeless(task.lease)):  # where there is no connection, it is no fault of theirs
                raise
            outcome = self._failed(task, EffectsRefused(f"its effects could not be written: {error}"))
        except Exception as error:  # noqa: BLE001 - an effect is user code: whatever it raises fails the attempt
            outcome = self._failed(task, error)
        else:
            hit("effect-after-commit")
            self._tries.pop(task.lease, None)
            return task, outcome, Status.COMPLETED
        self._tries.pop(task.lease, None)
        return self._settle([(task, outcome)])[0]

    def _hopeless(self, lease: Lease) -> bool:
        """Whether these effects were tried often enough with a database that answers everybody else."""
        with self._database.begin() as conn:
            conn.execute(select(1))
        moment = time.monotonic()
        tries, since = self._tries.get(lease, (0, moment))
        self._tries[lease] = tries + 1, since
        return tries + 1 >= EFFECT_TRIES and moment - since >= EFFECT_PATIENCE

    def _apply(self, conn: Connection, task: Task, outcome: Outcome) -> Settled:
        for effect, rows in outcome.effects:
            run_effect(conn, effect, rows)
        settled = store.settle(conn, [(task, outcome)])[0]
        hit("effect-before-commit")
        return settled


class EffectsRefused(Exception):
    """What is said where the database answers everybody, and does not take these effects."""


class _NotCompleted(Exception):
    """The settle was refused, or a cancel came first: the effects must not stand."""
