"""One task, run here and now: the same check of its arguments and the same verdict as in a worker, and no database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobrunner.db.undo import refuse_autocommit, undone_where_it_fails
from jobrunner.errors import HandlerError, InvalidInput
from jobrunner.execution import capture
from jobrunner.execution.attempt import failed, owned, perform, perform_async, stopped
from jobrunner.execution.wire import pack
from jobrunner.handlers import Context, registry, run_effect
from jobrunner.handlers.declare import Handler
from jobrunner.handlers.effects import Effect, effect_name
from jobrunner.queue import codec, retry
from jobrunner.queue.task import Ending, Lease, Outcome, Status, Task
from jobrunner.queue.verdict import decide
from jobrunner.testing.calls import heard
from jobrunner.testing.clock import Clock
from jobrunner.testing.ran import Asked, Ran
from jobrunner.testing.telling import Told, ToldChannel, answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


def run(
    handler: str | Callable[..., Any],
    payload: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    clock: Clock | None = None,
    cancelled: bool | Callable[[Told], bool] = False,
    answers: Mapping[str | Effect, Any] | None = None,
    conn: Connection | None = None,
    task_id: str = "task",
    generation: int = 0,
    max_attempts: int | None = None,
    tags: Sequence[str] | None = None,
) -> Ran:
    """Run one attempt of a task in this process, and tell what became of it. Never raises what the handler raises.

    ``handler`` is a task type or its function. ``attempt`` counts from 1; the earlier ones count as failures.
    ``cancelled`` is what ``ctx.cancelled`` says: from the start, or from when the function, which gets all that was
    told so far, says True. ``clock`` stamps progress and log lines.

    An effect that ``ctx.apply`` asks for is written down. It answers with what ``answers`` has for it, by name or as
    the effect itself: a JSON value, or a function that gets the rows and returns or raises; without any, None. What a
    completed task's ``ctx.on_complete`` asks for is answered alike. With ``conn`` all other effects of both kinds are
    run on that connection, in a transaction that the caller ends, and undone where they fail; ``ctx.transaction()``
    gives it to plain functions.

    Raises HandlerError where the handler or an effect of ``answers`` is not registered, and where ``conn`` is in
    AUTOCOMMIT; TypeError or ValueError for an argument that makes no sense.
    """
    if payload is not None and not isinstance(payload, Mapping):
        raise TypeError(f"payload is a mapping of the handler's arguments by name, not {payload!r}")
    if not isinstance(cancelled, bool) and not callable(cancelled):
        raise TypeError(f"cancelled is True, False or a function of what was told so far, not {cancelled!r}")
    if attempt < 1:
        raise ValueError(f"attempts count from 1, so there is none of number {attempt}")
    found = _handler(handler)
    if conn is not None:
        refuse_autocommit(conn)
    given = {effect_name(effect): answer for effect, answer in (answers or {}).items()}
    told = Told(clock or Clock())
    channel = ToldChannel(found, told, cancelled, given, conn)
    task = _task(found, task_id, attempt, generation, max_attempts, tags)
    context = Context(task, channel)
    with heard(told.calls.append), _kept(context):
        try:
            task.payload = codec.dump(dict(payload or {}))
        except InvalidInput as error:
            outcome = failed(error)
        else:
            outcome = _performed(task, found, context)
    outcome = owned(_ended(found, channel, outcome, given, conn))
    verdict = decide(task, outcome)
    waits = verdict.status is Status.PENDING
    longest = retry.delay(found.retry, task.failures + 1, lambda: 1.0)
    return Ran(
        status=verdict.status,
        ending=outcome.ending,
        result=None if outcome.result is None else codec.load(outcome.result),
        error=verdict.error if verdict.error is not None else outcome.error,
        error_class=outcome.error_class,
        traceback=outcome.traceback,
        delay=(longest if outcome.ending is Ending.ERROR else outcome.delay) if waits else None,
        progress=tuple(told.progress),
        logs=tuple(told.logs),
        applied=tuple(told.applied),
        on_complete=tuple(Asked(*one) for one in context.deferred),
        calls=tuple(told.calls),
    )


def _handler(handler: str | Callable[..., Any]) -> Handler:
    if isinstance(handler, str):
        return registry.get(handler)
    for known in registry.handlers().values():
        if known.function is handler:
            return known
    raise HandlerError(f"{handler!r} is no handler: register it with @task(name)")


def _task(
    handler: Handler, task_id: str, attempt: int, generation: int, most: int | None, tags: Sequence[str] | None
) -> Task:
    kept = None if tags is None else codec.dump(list(tags))
    limit = handler.max_attempts if most is None else most
    lease = Lease(1, "token", attempt)
    failures = attempt - 1
    facts = (handler.queue, handler.priority, generation, None, limit, failures, 0, 0, kept)
    return Task(lease, task_id, handler.name, "{}", *facts)


@contextmanager
def _kept(context: Context) -> Iterator[None]:
    """What is logged by Python's ``logging`` is kept with the attempt, as in a worker."""
    capture.keep_own()
    known = capture.running.set(context)
    try:
        yield
    finally:
        capture.running.reset(known)


def _performed(task: Task, handler: Handler, context: Context) -> Outcome:
    if handler.kind != "async":
        return perform(task, handler, context)

    async def attempted() -> Outcome:
        capture.running.set(context)  # a thread has a context of its own
        return await perform_async(task, handler, context)

    # In a thread of its own: the test may be a coroutine, whose loop is not to be had.
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, attempted()).result()


def _ended(
    handler: Handler, channel: ToldChannel, outcome: Outcome, answers: Mapping[str, Any], conn: Connection | None
) -> Outcome:
    """What a worker would record: a transaction of the handler's own settles, and a cancel outdoes what came after."""
    if channel.settled is not None:
        return channel.settled
    if channel.cancelled:
        return Outcome(Ending.CANCELLED, error=stopped(Ending.CANCELLED, 0), traceback=outcome.traceback)
    if outcome.ending is not Ending.COMPLETED:
        return outcome
    try:
        if handler.kind == "child":
            pack({"effects": outcome.effects})  # as on their way to the worker
        with undone_where_it_fails(conn) if conn is not None else nullcontext():
            for name, rows in outcome.effects:
                if name in answers:
                    answered(name, answers[name], rows)
                elif conn is not None:
                    run_effect(conn, name, rows)
    except Exception as error:  # noqa: BLE001  effects are the handler's code: theirs is the attempt's failure
        return failed(error)
    return replace(outcome, effects=())
