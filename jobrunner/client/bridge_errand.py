"""One task at one node: handed in, and followed to its end. What is not known is never guessed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx2

from jobrunner.client.bridge_calls import ANSWER_WITHIN, NotAccepted, Unsure, accepted, read
from jobrunner.client.bridge_nodes import Node
from jobrunner.client.bridge_values import BridgeTask, TaskResult, result_of
from jobrunner.client.errors import OutcomeUnknown, Refused
from jobrunner.queue.task import Status

POLL = 1.0  # seconds between two looks, as old clients have it; jobrunner tells the end at once
FIRST_POLL = 0.1
WAIT = 10.0  # seconds that one look may wait at the node
LAST_WORD = 2.0  # seconds after the end of the time in which the last look is answered
SOONEST, LATEST = 0.2, 5.0  # seconds between two tries where the network fails
LOST_AFTER = 10.0  # seconds without an answer after which a node counts as lost, for those who would run a task again
CANCEL_WITHIN = 5.0  # seconds in which a task that was asked to end may do so


class Lost(Exception):
    """The node that has the task has not answered for LOST_AFTER, and its caller said that it may run again."""


class Errand:
    """Brings a task to ``node``, and its result back, until ``until`` (monotonic).

    ``door`` finds, for a node that does not answer, the best that shares its database, else that node: whatever one of
    them accepted is asked of any of them.
    ``sent`` says that the node may have the task already, and is kept; ``handed_over`` is called once that is so.
    ``gives_up`` says that Lost is wanted.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        task: BridgeTask,
        node: Node,
        door: Callable[[Node], Awaitable[Node]],
        until: float,
        *,
        handed_over: Callable[[], None],
        sent: bool = False,
        gives_up: bool = False,
    ) -> None:
        self._http = http
        self._task = task
        self._node = node
        self._door = door
        self._until = until
        self._handed_over = handed_over
        self.sent = sent
        self._gives_up = gives_up
        self._pause = SOONEST
        self._failing_since: float | None = None
        self._path = f"/api/v1/task/{quote(task.task_id, safe='')}/status"

    async def run(self) -> TaskResult:
        """The task's result, or how it stood at the end of the time.

        Raises NotAccepted where the node certainly did not take it, OutcomeUnknown, Lost, and Refused where another
        task has its id.
        """
        await self._hand_in()
        return await self._follow()

    async def cancel(self) -> TaskResult | None:
        """Ask for its end; how it stands then, or None where the node has it still and cannot be asked that.

        Raises OutcomeUnknown where nobody answers any more.
        """
        path = f"/api/v1/tasks/{quote(self._task.task_id, safe='')}/cancel"
        self._until = time.monotonic() + CANCEL_WITHIN
        body, heard = {"reason": "its caller's time was over"}, True
        try:
            answer = await self._node.call(self._http, "POST", path, within=CANCEL_WITHIN, json=body)
        except (NotAccepted, Unsure):
            heard = False  # or not: how the task stands tells, if anybody does
        else:
            if not answer.is_success and answer.status_code != 409:  # a conflict: it ended before
                return None
        told = await self._follow()
        return told if heard or told.ended else None

    async def _hand_in(self) -> None:
        ask = self._ask_again if self.sent else self._ask_first
        while True:
            try:
                await ask()
            except NotAccepted as error:
                if not self.sent:
                    raise
                await self._recover(error)  # of what was sent before, this refusal proves nothing
            except Unsure as error:
                await self._recover(error)
            else:
                self._failing_since = None
                return
            ask = self._ask_again

    async def _ask_first(self) -> None:
        self.sent = True  # whoever is cancelled in the middle knows no better
        try:
            self._heard(accepted(await self._submit(), by_jobrunner=self._node.is_jobrunner))
        except (NotAccepted, Refused):  # what the node has under this id, if anything, is another task
            self.sent = False
            raise
        finally:
            if self.sent:
                self._handed_over()

    async def _ask_again(self) -> None:
        """Nobody knows whether it was delivered. For jobrunner the same request is the same task; others are asked."""
        if self._node.is_jobrunner:
            self._heard(accepted(await self._submit(), by_jobrunner=True))
        else:
            self._heard(read(await self._node.call(self._http, "GET", self._path, within=self._left())))

    async def _submit(self) -> httpx2.Response:
        body = self._task.body()
        return await self._node.call(self._http, "POST", "/api/v1/task/execute", within=self._left(), json=body)

    async def _follow(self) -> TaskResult:
        pause, told = FIRST_POLL, None
        # What was told before the node fell silent is no news: then a last look is taken when the time is over.
        while told is None or self._failing_since is not None or time.monotonic() < self._until:
            asked_at = time.monotonic()
            try:
                told = await self._look()
            except NotAccepted as error:
                if error.status is not None:
                    # It had the task, and does not know it any more, or does not tell us: nobody ever will.
                    raise self._unknown(str(error)) from error
                await self._recover(error)
                continue
            except Unsure as error:
                await self._recover(error)
                continue
            self._failing_since, self._pause = None, SOONEST
            if told.ended:
                return told
            rest = min(asked_at + pause, self._until) - time.monotonic()
            if rest > 0:  # the node does not wait with its answers
                await asyncio.sleep(rest)
                pause = min(POLL, 2 * pause)
        return replace(told, error=self._still(told))

    async def _look(self) -> TaskResult:
        left = max(0.0, self._until - time.monotonic())
        wait = min(WAIT, left)
        within = min(wait + ANSWER_WITHIN, left + LAST_WORD)
        params = {"wait": f"{wait:.3f}"} if self._node.is_jobrunner else {}
        return self._heard(read(await self._node.call(self._http, "GET", self._path, within=within, params=params)))

    def _heard(self, told: Any) -> TaskResult:
        try:
            return result_of(self._task.task_id, told, self._node.id)
        except (ValueError, TypeError) as error:
            raise Unsure(f"its answer is not the guide's ({error})") from error

    async def _recover(self, error: Exception) -> None:
        """Wait for the next try, at another door of the same database where there is one."""
        moment = time.monotonic()
        self._failing_since = self._failing_since or moment
        if self._gives_up and moment - self._failing_since >= LOST_AFTER:
            raise Lost from error
        if moment >= self._until:
            raise self._unknown(str(error)) from error
        await asyncio.sleep(min(self._pause, max(0.0, self._until - moment)))
        self._pause = min(LATEST, 2 * self._pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(SOONEST, self._until - time.monotonic())):
                self._node = await self._door(self._node)

    def _left(self) -> float:
        return min(ANSWER_WITHIN, self._until - time.monotonic())

    def _unknown(self, reason: str) -> OutcomeUnknown:
        return OutcomeUnknown(self._task.task_id, reason, self._node.id)

    def _still(self, told: TaskResult) -> str:
        doing = "still waits" if told.status == Status.PENDING else "still runs"
        where = f"{doing} at node {self._node.id!r} after the {self._task.timeout:g} s that its caller gave it"
        return f"{where}; it goes on there, and the same call waits for it again"
