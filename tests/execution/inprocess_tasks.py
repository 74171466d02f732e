"""Handlers that run inside the worker: each once ``async`` and once inline."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import Any

from jobrunner.errors import Cancel, LeaseLost, RetryLater
from jobrunner.handlers import Context, effect, task

LET_GO = threading.Event()
AFTERWARDS: list[str] = []


@effect("in process")
def in_process(conn: Any, rows: list[Any]) -> int:
    return len(rows)


def _raise(what: str) -> Any:
    if what == "unstorable":
        return object()
    raise {
        "error": ValueError("wrong"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "cancelled": asyncio.CancelledError(),
        "generator": GeneratorExit(),
        "later": RetryLater(5),
        "cancel": Cancel("no"),
    }[what]


@task("async add")
async def add(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


@task("inline add", isolation="inline")
def inline_add(a: int, b: int = 1) -> int:
    return a + b


@task("async trace")
async def trace(ctx: Context) -> str | None:
    return ctx.traceparent


@task("inline trace", isolation="inline")
def inline_trace(ctx: Context) -> str | None:
    return ctx.traceparent


@task("async raise")
async def raise_(what: str) -> Any:
    await asyncio.sleep(0)
    return _raise(what)


@task("inline raise", isolation="inline")
def inline_raise(what: str) -> Any:
    return _raise(what)


@task("async talk")
async def talk(word: str, ctx: Context) -> None:
    await asyncio.sleep(0.01)
    logging.getLogger("mine").warning("logged %s", word)
    ctx.log(word)
    ctx.progress(0.5, "half")
    ctx.progress(1.0, word)


@task("inline talk", isolation="inline")
def inline_talk(word: str, ctx: Context) -> None:
    logging.getLogger("mine").warning("logged %s", word)
    ctx.log(word)
    ctx.progress(0.5, "half")
    ctx.progress(1.0, word)


@task("async flood")
async def flood(ctx: Context) -> None:
    for number in range(2_000):
        ctx.log(str(number))


@task("inline flood", isolation="inline")
def inline_flood(ctx: Context) -> None:
    for number in range(2_000):
        ctx.log(str(number))


@task("async watch")
async def watch(ctx: Context) -> None:
    while not ctx.cancelled:
        await asyncio.sleep(0.01)


@task("inline watch", isolation="inline")
def inline_watch(ctx: Context) -> None:
    while not ctx.cancelled:
        time.sleep(0.01)


def _afterwards(ctx: Context) -> None:
    ctx.log("too late")
    ctx.progress(1.0)
    try:
        ctx.apply(in_process, [])
        AFTERWARDS.append("applied")
    except LeaseLost:
        AFTERWARDS.append("LeaseLost")


@task("async ignore")
async def ignore(ctx: Context) -> None:
    while not LET_GO.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.02)
    await asyncio.to_thread(_afterwards, ctx)


@task("inline ignore", isolation="inline")
def inline_ignore(ctx: Context) -> None:
    LET_GO.wait(10)
    _afterwards(ctx)


@task("async nap")
async def nap() -> None:
    await asyncio.sleep(0.2)


@task("inline nap", isolation="inline")
def inline_nap(seconds: float = 0.2) -> None:
    time.sleep(seconds)


@task("async effects")
async def effects(ctx: Context) -> dict[str, Any]:
    return await asyncio.to_thread(_effects, ctx)


@task("inline effects", isolation="inline")
def _effects(ctx: Context) -> dict[str, Any]:
    ctx.on_complete(in_process, [3])
    applied = ctx.apply("in process", [1, 2])
    try:
        with ctx.transaction():
            refused = ""
    except Exception as error:
        refused = type(error).__name__
    return {"applied": applied, "transaction": refused}


@task("async effects in the loop")
async def effects_in_the_loop(ctx: Context) -> None:
    ctx.apply("in process", [1])


@task("async cleanup")
async def cleanup() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        AFTERWARDS.append("cleaned up")
