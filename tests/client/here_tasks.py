"""Handlers of a program that runs its tasks itself: a module, so that children can import it."""

from __future__ import annotations

import asyncio
import os

from jobrunner.handlers import Context, task


@task("here.add")
def add(x: int, y: int = 1) -> dict[str, int]:
    return {"sum": x + y, "pid": os.getpid()}


@task("here.nap")
async def nap(seconds: float = 0.0) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"slept": seconds, "pid": os.getpid()}


@task("here.fall", max_attempts=1)
async def fall() -> None:
    raise ValueError("fell here")


@task("here.talk")
async def talk(ctx: Context) -> None:
    for number in range(3):
        ctx.log(f"line {number}")
        await asyncio.sleep(0.05)
