"""Claimed tasks on their way into one pool: as many as it has slots, and a few more where they turn over fast."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from jobrunner.execution.pool import Pool
from jobrunner.node.held import Holding
from jobrunner.queue.store import Room
from jobrunner.queue.task import Ending, Outcome, Task

AHEAD = 0.025  # seconds of its measured rate that a pool is fed ahead: a claim takes 2 to 10 ms
AHEAD_MOST = 1_000  # tasks
ALONE = 4  # times as far where no other worker could have them: a file's claims cost it the same lock as its settles
QUICK = 20.0  # tasks a second and slot, below which a slot loses nothing while the next claim is made
SOON = 0.02  # seconds from a look that found work to the next that is not hinted at; then twice as many, and so on
NO_SLOT = "given back before it began: no slot of this worker became free in time; nothing is charged"
MEASURE = 0.02  # seconds over which a rate is taken, at least


class Feed:
    """Holds what was claimed for one pool until a slot is free. All calls belong to the worker's loop.

    ``begin`` starts one in the pool; ``given_up`` hears of one that was stopped before it began. ``alone`` says that
    this is the database's only worker.
    """

    def __init__(
        self,
        pool: Pool,
        types: tuple[str, ...],
        begin: Callable[[Holding], None],
        given_up: Callable[[Task, Outcome], None],
        *,
        alone: bool = False,
    ) -> None:
        self.pool = pool
        self._far = ALONE if alone else 1
        self._types = types
        self._begin = begin
        self._given_up = given_up
        self._waiting: deque[Holding] = deque()
        self._rate = 0.0
        self._ended = 0
        self._measured_at = time.monotonic()
        self._begun = 0  # since the last call of thin
        self._seen = 0  # waited at that call
        self._mark = 0  # tasks that wait, of which more are claimed when there are no more than these
        self.dry = False  # the last look found less than there was room for; until a hint or a poll says otherwise
        self.again_at = float("inf")  # when to look although nobody hinted
        self._again_gap = SOON
        self._found = False  # something was offered lately

    def __len__(self) -> int:
        return len(self._waiting)

    def room(self, *, though_dry: bool = False) -> Room | None:
        """What to claim now; None as long as enough is at hand, or there is no more (which may have changed)."""
        if (self.dry and not though_dry) or not self._types or not self.low():
            return None
        wanted = self.pool.free() + self._ahead() - len(self._waiting)
        return Room(self.pool.kind, self._types, wanted) if wanted > 0 else None

    def look_again(self) -> None:
        """Be no longer dry, where it is time: there was work lately, so there may be more. Hints of who submits on and
        on are few, and behind a pooler none comes."""
        moment = time.monotonic()
        if moment >= self.again_at:
            self.dry = False
            self._again_gap *= 2
            self.again_at = moment + self._again_gap

    def low(self) -> bool:
        """Whether less than half of what should be at hand is there."""
        return len(self._waiting) <= self._mark

    def offer(self, holding: Holding) -> None:
        """Begin this as soon as a slot is free, once :meth:`fill` is called."""
        self._waiting.append(holding)
        self._found = True

    def fill(self) -> None:
        """Begin what waits, as far as there are slots."""
        if self._found:
            self._found = False
            self._again_gap = SOON
            self.again_at = time.monotonic() + SOON
        waiting, free = self._waiting, self.pool.free
        while waiting and free() > 0:
            self._begun += 1
            self._begin(waiting.popleft())

    def ended(self) -> None:
        """A slot has become free."""
        self._ended += 1
        if self._waiting:
            self.fill()

    def give_back(self) -> None:
        """Let go of everything that has not begun."""
        self._give_back(0, "its worker stops")

    def thin(self) -> None:
        """To be called from time to time: where something has waited since the last call, the rate that it was claimed
        for is gone, and all goes back but as many as began meanwhile. Others may have a slot for them.
        """
        self.fill()  # a slot may have become free without an end, as where children could not be started for a while
        if self._seen > self._begun:
            self._give_back(self._begun, NO_SLOT)
            self.dry = False  # there is more: what was just given back
        self._seen, self._begun = len(self._waiting), 0

    def stop(self, row_id: int, ending: Ending) -> bool:
        """Stop a task, whether it began or not; False where it is not here."""
        for holding in self._waiting:
            if holding.task.lease.id == row_id:
                self._waiting.remove(holding)
                self._given_up(holding.task, Outcome(ending, error="stopped before it began"))
                return True
        return self.pool.stop(row_id, ending)

    def _give_back(self, kept: int, why: str) -> None:
        while len(self._waiting) > kept:
            self._given_up(self._waiting.pop().task, Outcome(Ending.RELEASED, error=why))

    def _ahead(self) -> int:
        moment = time.monotonic()
        passed = moment - self._measured_at
        if passed >= MEASURE:
            self._rate = self._ended / passed
            self._ended, self._measured_at = 0, moment
        ahead = min(int(self._rate * AHEAD * self._far), AHEAD_MOST) if self._rate >= QUICK * self.pool.slots else 0
        self._mark = max(0, (ahead - self.pool.slots) // 2)
        return ahead
