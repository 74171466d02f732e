"""Handlers that do nothing, so that what is measured is everything around them."""

from __future__ import annotations

import time
from typing import Any

from jobrunner.handlers import task

NOOP, STAMP, PLAIN = "bench_noop", "bench_stamp", "bench_plain"
BARE = "bench_bare"  # for the bare side: no worker knows it
MODULE = __name__

PAYLOAD: dict[str, Any] = {
    "symbols": ["000001.SZ", "600000.SH", "430047.BJ"],
    "data_source": "tongdaxin",
    "start_date": "2026-01-05",
    "end_date": "2026-11-20",
    "frequency": "1d",
    "adjust": "none",
    "batch": 17,
}
"""Arguments as long as those of an import: 170 bytes of JSON."""


@task(NOOP)
async def noop(**_given: Any) -> dict[str, Any]:
    """Nothing, in the worker's loop."""
    return {}


@task(STAMP)
async def stamp(**_given: Any) -> dict[str, int]:
    """When it began, in nanoseconds of this machine's clock."""
    return {"at": time.time_ns()}


@task(PLAIN)
def plain(**_given: Any) -> dict[str, Any]:
    """Nothing, in a child process."""
    return {}
