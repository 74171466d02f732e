"""A place over REST: each call asked again where that is sound, streams taken up where they broke off."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from typing import TypeVar

import httpx2

from jobrunner.client import answers, calls
from jobrunner.client.calls import Ask
from jobrunner.client.desk import Answer
from jobrunner.client.errors import OutcomeUnknown, Refused, Unreachable, done
from jobrunner.client.http import Http
from jobrunner.client.place import Submitted
from jobrunner.client.shapes import Request
from jobrunner.client.tries import Tries, passes
from jobrunner.errors import JobrunnerError
from jobrunner.queue.task import ENDED

WAIT_MOST = 10.0  # seconds for one wait, which a proxy between may well cut off at 30
BATCH_BYTES = 900_000  # of one body; the server takes 1 MiB
BATCH = 1_000  # tasks in one call, at most
AT_LEAST = 5.0  # seconds for one try, however little of the budget is left
LAST_WORD = 1.0  # seconds after the end of a caller's time in which a server may still say how the task stands
POLL = 0.5  # seconds between two looks where there is no stream of one task

Told = TypeVar("Told")


class Rest:
    """The server behind ``http``; ``timeout`` (seconds) for one try, ``patience`` for all tries of a call."""

    def __init__(self, http: Http, *, timeout: float, patience: float) -> None:
        self._http = http
        self._timeout = timeout
        self.patience = patience
        self._takes_batches = True

    async def submit(self, request: Request) -> Answer:
        ask = calls.execute(request.task_type, request.data, dict(request.options))
        return await self._ask(ask, answers.submitted)

    async def submit_many(self, requests: Sequence[Request]) -> list[Submitted]:
        return await self._parts(list(_parts(requests)))

    async def _parts(self, parts: Sequence[_Part]) -> list[Submitted]:
        told: list[Submitted] = []
        lost: JobrunnerError | None = None
        for part in parts:
            if lost is None:
                found = await self._part(part)
                lost = next((one for one in found if isinstance(one, Unreachable | OutcomeUnknown)), None)
                told += found
            else:  # each would wait as long for an answer as the one before it
                told += [Unreachable(self._http.url, f"not sent, since an earlier part had no answer: {lost}")] * len(
                    part
                )
        return told

    async def _part(self, part: _Part, tries: Tries | None = None) -> list[Submitted]:
        if len(part) == 1:
            return [await self._one(part[0][0])]
        if not self._takes_batches:
            return await self._parts([[one] for one in part])
        try:
            ask = calls.batch([wish for _, wish in part])
            results = await self._ask(ask, lambda response: answers.results_of(response, len(part)))
        except Refused as error:
            if error.status not in (404, 405):
                return [error] * len(part)
            self._takes_batches = False  # an older server: one by one comes to the same, since no batch is a whole
            return await self._part(part)
        except OutcomeUnknown as error:
            return [OutcomeUnknown(_id(request), error.reason) for request, _ in part]
        except JobrunnerError as error:
            return [error] * len(part)
        told = [_result(one, request) for one, (request, _) in zip(results, part, strict=True)]
        later = {n: one for n, one in enumerate(told) if isinstance(one, Refused) and passes(one)}
        if later:  # a queue that was full, or a database that broke off in the middle: those alone once more
            tries = tries or Tries(self.patience, changes=True)
            try:
                await self._http.sleep(tries.after(next(iter(later.values()))))
            except JobrunnerError:
                for n, one in later.items():
                    told[n] = one if one.status == 429 else OutcomeUnknown(_id(part[n][0]), str(one))
            else:
                for n, found in zip(later, await self._part([part[n] for n in later], tries), strict=True):
                    told[n] = found
        return told

    async def _one(self, request: Request) -> Submitted:
        try:
            return await self.submit(request)
        except JobrunnerError as error:
            return error

    async def task(self, task_id: str) -> Answer:
        return await self._told(calls.task(task_id), answers.TASK)

    async def wait(self, task_id: str, seconds: float, patience: float) -> Answer:
        until = time.monotonic() + patience
        tries = Tries(min(patience, self.patience))
        while True:
            left = max(0.0, until - time.monotonic())
            waits = min(seconds, left, WAIT_MOST)
            within = min(self._for_one(tries) + waits, left + LAST_WORD)
            try:
                return answers.object_of(await self._http.send(calls.task(task_id, waits), within), answers.TASK)
            except JobrunnerError as error:
                rest = tries.after(error)
            await self._http.sleep(rest)

    async def attempts(self, task_id: str) -> Answer:
        return await self._told(calls.attempts(task_id), answers.ATTEMPTS)

    async def logs(self, task_id: str, after: int) -> Answer:
        return await self._told(calls.logs(task_id, after), answers.LOGS)

    async def cancel(self, task_id: str, reason: str) -> Answer:
        await self._told(calls.cancel(task_id, reason), answers.ACCEPTED)
        with done(task_id, "cancel", again=True):
            return await self.task(task_id)

    async def retry(self, task_id: str) -> Answer:
        await self._told(calls.retry(task_id), answers.ACCEPTED)
        with done(task_id, "retry", again=False):
            return await self.task(task_id)

    async def events(self, queue: str | None) -> AsyncGenerator[tuple[str, Answer, str], None]:
        async with aclosing(self._stream(calls.events(queue))) as stream:
            async for event in stream:
                yield event.event, _data(event), event.id

    async def task_events(self, task_id: str) -> AsyncGenerator[Answer, None]:
        try:
            async with aclosing(self._stream(calls.task_events(task_id))) as stream:
                async for event in stream:
                    told = _data(event)
                    if "status" in told:
                        yield told
                    if told.get("status") in ENDED:
                        return
        except Refused as error:
            if error.code != "no_such_path":
                raise
        async with aclosing(self._looks(task_id)) as looks:  # an older server: the same states, seen by looking
            async for told in looks:
                yield told

    async def _looks(self, task_id: str) -> AsyncGenerator[Answer, None]:
        last: Answer = {}
        while True:
            told = await self.task(task_id)
            if told != last:
                last = told
                yield told
            if told["status"] in ENDED:
                return
            await self._http.sleep(POLL)

    async def sleep(self, seconds: float) -> None:
        await self._http.sleep(seconds)

    async def close(self) -> None:
        await self._http.close()

    async def _told(self, ask: Ask, needed: Collection[str]) -> Answer:
        return await self._ask(ask, lambda response: answers.object_of(response, needed))

    async def _ask(self, ask: Ask, read: Callable[[httpx2.Response], Told]) -> Told:
        """What ``read`` makes of the answer; where it is not jobrunner's, that is a try that failed."""
        tries = Tries(self.patience, task_id=ask.task_id, again=ask.again, changes=ask.changes)
        while True:
            try:
                return read(await self._http.send(ask, self._for_one(tries)))
            except JobrunnerError as error:
                rest = tries.after(error)
            await self._http.sleep(rest)

    def _for_one(self, tries: Tries) -> float:
        """Seconds for one try."""
        return min(self._timeout, max(AT_LEAST, tries.left()))

    async def _stream(self, ask: Ask) -> AsyncGenerator[httpx2.ServerSentEvent, None]:
        """Events for ever, across servers that stop and links that break."""
        tries = Tries(self.patience)
        last_id = ""
        while True:
            broken: JobrunnerError = Unreachable(self._http.url, "it ended the stream")
            opened = told = False
            try:
                async with aclosing(self._http.stream(ask, last_id)) as events:
                    async for event in events:
                        opened = True
                        if event is None:
                            continue
                        told = True
                        last_id = event.id or last_id
                        yield event
            except JobrunnerError as error:
                broken = error
            # The patience begins at the break: a stream may be silent for hours, since pings are no events.
            if told:
                tries.refresh()
            elif opened:
                tries.extend()
            await self._http.sleep(tries.after(broken))


_Part = list[tuple[Request, bytes]]
"""What goes in one call, with the JSON of each."""


def _parts(requests: Sequence[Request]) -> Iterator[_Part]:
    part: _Part = []
    size = 0
    for request in requests:
        try:
            wish = calls.dump(calls.wish(request.task_type, request.data, dict(request.options)))
        except JobrunnerError:  # told when it is asked for alone
            wish = b""
        alone = not wish or bool(request.options.get("traceparent"))  # a header, so one call has one
        if part and (alone or size + len(wish) > BATCH_BYTES or len(part) == BATCH):
            yield part
            part, size = [], 0
        if alone:
            yield [(request, wish)]
            continue
        part.append((request, wish))
        size += len(wish) + 1
    if part:
        yield part


def _id(request: Request) -> str:
    return str(request.options.get("task_id") or "")


def _result(one: Answer, request: Request) -> Submitted:
    """One answer of a batch."""
    if one["status"] < 400:
        return {"task_id": one["task_id"], "status": one["task_status"], "created": one["status"] == 202}
    problem = one.get("problem") or {}
    told = str(problem.get("detail") or problem.get("title") or one["status"])
    return answers.refused(one["status"], told, problem, _id(request))


def _data(event: httpx2.ServerSentEvent) -> Answer:
    try:
        told = json.loads(event.data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
