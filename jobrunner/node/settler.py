"""Records how attempts ended: many in one statement, and again until the database took them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy import Connection, select

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.handlers import run_effect
from jobrunner.logs import get_logger
from jobrunner.node.reports import Gathered
from jobrunner.queue import retry, store
from jobrunner.queue.codec import clean_text
from jobrunner.queue.store import Settled
from jobrunner.queue.task import Ending, Lease, Outcome, Status, Task
from jobrunner.settings.failpoints import hit

BATCH = 500
EFFECT_DEADLINE = 60.0  # seconds
EFFECT_TRIES = 5  # of an outcome whose effects cannot be written although the database answers
REPORT_EVERY = 0.5  # seconds between two writes of progress and logs
RETRY_FIRST, RETRY_CAP = 0.1, 2.0  # seconds

log = get_logger(__name__)

Settlement = tuple[Task, Outcome]
Fate = tuple[Task, Outcome, Status | None]  # the status is None where the settle was refused


class Settler:
    """Takes outcomes from the worker and tells it, by ``recorded``, what became of each."""

    def __init__(
        self, database: Database, reports: Gathered, recorded: Callable[[Task, Outcome, Status | None], None]
    ) -> None:
        self._database = database
        self._reports = reports
        self._recorded = recorded
        self._waiting: list[Settlement] = []
        self._tries: dict[Lease, int] = {}
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="settle")
        self._busy = False
        self._closing = False

    def add(self, task: Task, outcome: Outcome) -> None:
        """Record this outcome soon."""
        self._waiting.append((task, outcome))
        self._changed.set()

    def idle(self) -> bool:
        """Whether everything is recorded."""
        return not self._waiting and not self._busy

    def close(self) -> None:
        """Stop once what waits is recorded."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """Record until closed. An outage is waited out: the lease is renewed, or the token refuses us at the end."""
        loop = asyncio.get_running_loop()
        pause = RETRY_FIRST
        while not (self._closing and self.idle()):
            if not self._waiting:
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), REPORT_EVERY)
                except TimeoutError:
                    if not self._reports.waiting():
                        continue
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            self._busy = True
            try:
                settled, again = await loop.run_in_executor(self._thread, self._record, batch)
                for task, outcome, status in settled:
                    self._recorded(task, outcome, status)
                self._waiting += again
                pause = await self._rest(pause, len(again))
            except DatabaseUnavailable as error:
                log.debug("outcomes cannot be recorded", error=str(error))
                self._waiting = batch + self._waiting
                pause = await self._rest(pause, len(batch))
            finally:
                self._busy = False
        self._thread.shutdown(wait=False)

    async def _rest(self, pause: float, waiting: int) -> float:
        """Wait before the next try where there is one; returns the pause after that."""
        if not waiting:
            return RETRY_FIRST
        await asyncio.sleep(pause)
        return min(pause * 2, RETRY_CAP)

    def _record(self, batch: list[Settlement]) -> tuple[list[Fate], list[Settlement]]:
        """What became of the batch, and what of it must be tried again."""
        self._report()
        hit("settle-before")
        fates = self._settle([one for one in batch if not one[1].effects])
        late = [one for one in batch if one[1].effects]
        while late:
            try:
                fates.append(self._with_effects(*late[0]))
            except DatabaseUnavailable as error:
                log.debug("effects wait for the database", task_id=late[0][0].task_id, error=str(error))
                return fates, [*late[1:], late[0]]  # the others first: it may be this one's own fault
            del late[0]
        hit("settle-after-commit")
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
        try:
            with self._database.begin() as conn:
                settled = store.settle(conn, batch)
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
        return [(task, outcome, one.status) for (task, outcome), one in zip(batch, settled, strict=True)]

    def _with_effects(self, task: Task, outcome: Outcome) -> Fate:
        """Effects and the end of the task, both or neither; an effect that fails is the attempt's failure."""
        try:
            with self._database.begin(deadline=EFFECT_DEADLINE) as conn:
                fate = self._apply(conn, task, outcome)
                if fate.status is not Status.COMPLETED:
                    raise _NotCompleted
        except _NotCompleted:
            outcome = replace(outcome, effects=())
        except DatabaseUnavailable as error:
            if not self._hopeless(task.lease):
                raise
            outcome = _failure(task, error)
        except Exception as error:  # noqa: BLE001 - an effect is user code: whatever it raises fails the attempt
            outcome = _failure(task, error)
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
        self._tries[lease] = self._tries.get(lease, 0) + 1
        return self._tries[lease] >= EFFECT_TRIES

    def _apply(self, conn: Connection, task: Task, outcome: Outcome) -> Settled:
        for effect, rows in outcome.effects:
            run_effect(conn, effect, rows)
        settled = store.settle(conn, [(task, outcome)])[0]
        hit("effect-before-commit")
        return settled


def _failure(task: Task, error: Exception) -> Outcome:
    told = f"an effect failed: {clean_text(error, 4_000)}"
    wait = retry.delay(retry.Retry(), task.failures + 1, random.random)
    return Outcome(Ending.ERROR, error=told, error_class=type(error).__name__, delay=wait)


class _NotCompleted(Exception):
    """The settle was refused, or a cancel came first: the effects must not stand."""
