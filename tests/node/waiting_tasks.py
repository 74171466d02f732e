"""Handlers inside the worker that come to their end when the test says so."""

from __future__ import annotations

import asyncio
import threading
import time

from jobrunner.errors import LeaseLost
from jobrunner.handlers import Context, Retry, effect, task

_gates: dict[str, threading.Event] = {}
_begun: list[str] = []


def reset() -> None:
    """Forget every gate and everything that began."""
    _gates.clear()
    _begun.clear()


def gate(name: str) -> threading.Event:
    """Tasks told this name end once it is set."""
    return _gates.setdefault(name, threading.Event())


def open_all() -> None:
    """Let everything end."""
    for one in list(_gates.values()):
        one.set()


def begun() -> list[str]:
    """The ids of tasks whose handler began, in that order."""
    return list(_begun)


@task("node.quick")
async def quick(ctx: Context) -> None:
    _begun.append(ctx.task_id)


@task("node.quick_inline", isolation="inline")
def quick_inline(ctx: Context) -> None:
    _begun.append(ctx.task_id)


@task("node.at_once", settle="at once")
async def at_once(ctx: Context) -> None:
    _begun.append(ctx.task_id)


@task("node.fails_once", retry=Retry(base=0))
async def fails_once(ctx: Context) -> None:
    _begun.append(ctx.task_id)
    if _begun.count(ctx.task_id) == 1:
        raise RuntimeError("once")


@task("node.says_lost", retry=Retry(base=0))
async def says_lost(ctx: Context) -> None:
    raise LeaseLost("somebody else's lease")


@task("node.nap")
async def nap(ctx: Context) -> None:
    _begun.append(ctx.task_id)
    await asyncio.sleep(0.03)


@task("node.wait")
async def wait(ctx: Context, until: str) -> None:
    _begun.append(ctx.task_id)
    while not gate(until).is_set() and not ctx.cancelled:
        await asyncio.sleep(0.005)


@task("node.wait_inline", isolation="inline")
def wait_inline(ctx: Context, until: str) -> None:
    _begun.append(ctx.task_id)
    while not gate(until).is_set() and not ctx.cancelled:
        time.sleep(0.005)


@task("node.slow_effect")
async def slow_effect(ctx: Context, until: str) -> None:
    _begun.append(ctx.task_id)
    ctx.on_complete("node.wait", [until])


@effect("node.wait")
def wait_in_effect(conn: object, rows: list[str]) -> None:
    gate(f"{rows[0]}, and asked").set()
    gate(rows[0]).wait(20)
