"""A process that has imported jobrunner, and forks one that runs it: 0.03 s of a core where a cold start takes 1.3.

Only the interpreter's start and the imports are spared. What runs is ``python -m jobrunner`` in every other respect: a
process of its own with its own session, environment, folder, streams, threads and connections.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

WARM = (  # what every command may need; handlers are read by each process itself, as its settings say
    "jobrunner.api.app",
    "jobrunner.cli.main",
    "jobrunner.client.choose",
    "jobrunner.data_import",
    "jobrunner.db.migrate",
    "jobrunner.runtime",
    "uvicorn",
    "multiprocessing.popen_fork",
    "tests.forks",
)


def can_become(env: Mapping[str, str]) -> bool:
    """False where a setting is meant for the interpreter or the loader, which only a new one reads."""
    return all(name == "PYTHONPATH" or not name.startswith(("PYTHON", "LD_")) for name in env)


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(WARM))
    return context


class Forked:
    """The part of ``subprocess.Popen`` that the tests use, for ``python -m jobrunner`` with these arguments."""

    def __init__(self, args: list[str], *, env: Mapping[str, str], cwd: Path, out: Path, err: Path) -> None:
        self._process: ForkServerProcess = _context().Process(target=_become, args=(args, dict(env), cwd, out, err))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self._code is None and (code := self._process.exitcode) is not None:
            self._code = code
            self._process.close()  # else its two pipes stay open for as long as somebody knows it
        return self._code

    def wait(self, timeout: float) -> int:
        """Wait so many seconds for its end; raises TimeoutError."""
        if self._code is None:
            self._process.join(timeout)
        if (code := self.poll()) is None:
            raise TimeoutError
        return code


def _become(args: list[str], env: dict[str, str], cwd: Path, out: Path, err: Path) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.path[:0] = [str(cwd), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["jobrunner", *args]
    try:
        runpy.run_module("jobrunner", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # what multiprocessing leaves out
