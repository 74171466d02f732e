"""All measurements by name, and one run of some of them."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import psutil

from jobrunner.bench.api import api
from jobrunner.bench.children import children
from jobrunner.bench.drain import drain
from jobrunner.bench.enqueue import enqueue
from jobrunner.bench.figure import Measured
from jobrunner.bench.growth import growth
from jobrunner.bench.idle import idle
from jobrunner.bench.latency import latency, roundtrip
from jobrunner.bench.progress import Told
from jobrunner.bench.scale import Scale
from jobrunner.bench.scratch import Scratch
from jobrunner.bench.snapshot import snapshot
from jobrunner.bench.stage import Stage
from jobrunner.settings import Settings

MEASUREMENTS: dict[str, Callable[[Stage], Measured]] = {
    "drain": drain,
    "latency": latency,
    "roundtrip": roundtrip,
    "enqueue": enqueue,
    "children": children,
    "api": api,
    "growth": growth,
    "snapshot": snapshot,
    "idle": idle,
}


def run(settings: Settings, names: Sequence[str], scale: Scale) -> dict[str, Any]:
    """Measure in a scratch database beside the configured one; returns the report as a JSON object."""
    told = Told()
    with Scratch(settings) as scratch:
        for name in scratch.leftovers:
            told.say(f"left by a bench that was killed, or of one that runs now: schema {name}")
        stage = Stage(scratch, scale, told)
        found = {name: MEASUREMENTS[name](stage) for name in names}
        return {
            "jobrunner": version("jobrunner"),
            "python": platform.python_version(),
            "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "memory": psutil.virtual_memory().total},
            "database": scratch.version(),
            "scale": vars(scale) | {"workers": list(scale.workers), "bulks": list(scale.bulks)},
            "work": {name: measured.work for name, measured in found.items()},
            "figures": [figure.document() for measured in found.values() for figure in measured.figures],
            "notes": [note for measured in found.values() for note in measured.notes],
        }
