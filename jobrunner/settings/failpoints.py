"""Places where tests make a process die, halt, fail or dawdle: ``JOBRUNNER_FAILPOINT=name:action[:nth],...``.

Actions: ``kill`` (SIGKILL to itself), ``stop`` (SIGSTOP to itself), ``raise`` (RuntimeError), ``sleep=SECONDS``. Each
acts on the nth hit of its name in this process, by default the first. Children inherit the variable and count anew.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from functools import cache

from jobrunner.errors import SettingsError

VARIABLE = "JOBRUNNER_FAILPOINT"

_SPEC = re.compile(r"(?P<name>[\w.-]+):(?P<action>kill|stop|raise|sleep=(?P<seconds>\d+(\.\d+)?))(:(?P<nth>[1-9]\d*))?")


@dataclass(frozen=True)
class _Point:
    action: str
    seconds: float
    nth: int


_hits: dict[str, int] = {}
_counting = threading.Lock()


def hit(name: str) -> None:
    """Pass the place called ``name``; does nothing unless the environment says otherwise."""
    points = _points()
    if name not in points:
        return
    with _counting:
        count = _hits[name] = _hits.get(name, 0) + 1
    for point in points[name]:
        if point.nth == count:
            _act(name, point)


@cache
def _points() -> dict[str, list[_Point]]:
    found: dict[str, list[_Point]] = {}
    for part in os.environ.get(VARIABLE, "").split(","):
        if not part.strip():
            continue
        spec = _SPEC.fullmatch(part.strip())
        if spec is None:
            raise SettingsError(f"{VARIABLE}: {part!r} is not name:kill|stop|raise|sleep=SECONDS[:nth]")
        point = _Point(spec["action"].partition("=")[0], float(spec["seconds"] or 0), int(spec["nth"] or 1))
        found.setdefault(spec["name"], []).append(point)
    return found


def _act(name: str, point: _Point) -> None:
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif point.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif point.action == "sleep":
        time.sleep(point.seconds)
    else:
        raise RuntimeError(f"failpoint {name}")
