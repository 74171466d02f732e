"""One call of a handler, and the Outcome that it comes to: the same in every way of running it."""

from __future__ import annotations

import random
import traceback
from dataclasses import replace
from typing import Any

from jobrunner.errors import Cancel, DatabaseUnavailable, InvalidInput, LeaseLost, RetryLater
from jobrunner.handlers.context import Context
from jobrunner.handlers.declare import Handler
from jobrunner.queue import codec, retry
from jobrunner.queue.task import Ending, Outcome, Task
from jobrunner.settings.failpoints import hit
from jobrunner.text import mask

OUTAGE_DELAY = 2.0  # seconds before a task that an outage ended may run again


class Stopped(BaseException):
    """Raised inside a handler to end it: its finally blocks run, and no ``except Exception`` holds it up."""


class _Unstorable(Exception):
    """The handler's result is not JSON that a database keeps."""


def perform(task: Task, handler: Handler, context: Context) -> Outcome:
    """Call a plain handler. Never raises, whatever the handler does."""
    try:
        hit("handler-before")
        value = handler.function(**_arguments(task, handler, context))
        hit("handler-after")
        return completed(value, context)
    except BaseException as error:  # noqa: BLE001  SystemExit and its like end the attempt, not the process
        return failed(error)


async def perform_async(task: Task, handler: Handler, context: Context) -> Outcome:
    """Await an ``async`` handler. Never raises, not even when it is cancelled."""
    try:
        value = await handler.function(**_arguments(task, handler, context))
        return completed(value, context)
    except BaseException as error:  # noqa: BLE001  as above; the pool knows whether it was it that cancelled
        return failed(error)


def failed(error: BaseException) -> Outcome:
    """The Outcome of an exception of any class."""
    error = _inner(error)
    said = _said(error)
    match error:
        case RetryLater():
            return Outcome(Ending.RETRY_LATER, error=said, delay=error.seconds)
        case Cancel():
            return Outcome(Ending.CANCELLED, error=said)
        case LeaseLost():
            return Outcome(Ending.LOST, error=said)
        case DatabaseUnavailable():  # no fault of the handler's, so it costs no try; the budget of RetryLater bounds it
            return Outcome(Ending.RETRY_LATER, error=said, delay=OUTAGE_DELAY)
        case InvalidInput():
            return Outcome(Ending.REFUSED, error=said, error_class=class_name(error))
        case _Unstorable():
            return Outcome(Ending.ERROR, error=said, error_class="InvalidResult")
    return Outcome(Ending.ERROR, error=_named(error, said), error_class=class_name(error), traceback=_traceback(error))


def owned(outcome: Outcome) -> Outcome:
    """The same Outcome where nobody else knows of a loss: LeaseLost that a handler raised for a reason of its own is a
    failure, and where it is true the token refuses it.
    """
    if outcome.ending is not Ending.LOST:
        return outcome
    return replace(outcome, ending=Ending.ERROR, error_class=class_name(LeaseLost()))


def with_delay(outcome: Outcome, task: Task, handler: Handler) -> Outcome:
    """The same Outcome with the back-off of an ending that may be tried again."""
    if outcome.ending is Ending.COMPLETED:  # as nearly always
        return outcome
    match outcome.ending:
        case Ending.ERROR | Ending.TIMEOUT:
            count = task.failures + 1
        case Ending.CRASHED | Ending.OUT_OF_MEMORY:
            count = task.crashes + 1
        case _:
            return outcome
    return replace(outcome, delay=retry.delay(handler.retry, count, random.random))


def stopped(ending: Ending, limit: float) -> str:
    """The sentence about an attempt that was ended from outside; ``limit`` is its time in seconds."""
    return {
        Ending.TIMEOUT: f"did not end within {limit:g} s",
        Ending.CANCELLED: "cancelled while it ran",
        Ending.LOST: "another attempt owns the task",
        Ending.RELEASED: "given back: its worker stops",
        Ending.OUT_OF_MEMORY: "ended for its use of memory",
    }[ending]


def class_name(error: BaseException) -> str:
    """``package.module.Class``, or just ``Class`` for Python's own."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return codec.clean_text(name, 200)


def _arguments(task: Task, handler: Handler, context: Context) -> dict[str, Any]:
    try:
        payload = codec.load(task.payload)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the stored payload is no JSON that Python reads: {error}") from error
    return handler.arguments.bind(payload, context)


def completed(value: Any, context: Context) -> Outcome:
    """The Outcome of what a handler returned; raises where it cannot be stored."""
    try:
        result = codec.dump(value, max_bytes=codec.RESULT_MAX_BYTES)
    except InvalidInput as error:
        raise _Unstorable(f"the handler's result cannot be stored: {error}") from error
    return Outcome(Ending.COMPLETED, result=result, effects=context.deferred)


def _inner(error: BaseException) -> BaseException:
    # A TaskGroup wraps what one of its tasks raised; a verdict stays a verdict, and an outage an outage.
    inner = error
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, RetryLater | Cancel | LeaseLost | DatabaseUnavailable) else error


def _traceback(error: BaseException) -> str | None:
    shown = error.__traceback__.tb_next if error.__traceback__ else None  # without our own frame
    try:
        text = "".join(traceback.format_exception(type(error), error, shown))
    except BaseException as cause:  # noqa: BLE001  an exception's own methods are the handler's code
        text = f"(the traceback cannot be formatted: {class_name(cause)})"
    return mask(codec.clean_text(text, codec.TRACEBACK_MAX_BYTES))


def _said(error: BaseException) -> str:
    try:
        text = mask(codec.clean_text(error, codec.ERROR_MAX_BYTES))
        return text if text.strip() else class_name(error)
    except BaseException:  # noqa: BLE001  an exception's __str__ is the handler's code, and may even leave
        return f"<{type(error).__name__} whose text cannot be read>"


def _named(error: BaseException, said: str) -> str:
    """What it says, behind its class where that is a single word, such as ``0``, or the key of a KeyError."""
    name = class_name(error)
    alone = len(said.split()) < 2 or isinstance(error, KeyError)
    return codec.clean_text(f"{name}: {said}", codec.ERROR_MAX_BYTES) if alone and said != name else said
