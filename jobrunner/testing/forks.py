"""The test's side of the program that forks the processes of rehearsals: started once, for all tests of a process."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

from jobrunner.testing.errors import RehearsalError


class Forks:
    """A running server of forks; see :mod:`jobrunner.testing.server`. Safe in threads: one order after the other."""

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise RehearsalError("survive() forks its processes, which this system cannot")
        self._asking = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobrunner.testing.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            text=True,
            start_new_session=True,  # Ctrl-C is the test's; this ends when the test's process hangs up
        )
        atexit.register(self.close)

    def carry_out(self, order: Mapping[str, Any]) -> int:
        """The exit code of the process that carried out this order; raises RehearsalError where the server is gone."""
        with self._asking:
            try:
                return int(self._answer(json.dumps(order)))
            except BaseException as error:  # an interrupted test's too: its answer would be taken for the next one's
                forks.cache_clear()
                self.close()
                if isinstance(error, OSError | ValueError):
                    raise RehearsalError("the program that forks the processes of rehearsals has ended") from error
                raise

    def _answer(self, order: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it, and wait for its end."""
        atexit.unregister(self.close)
        self._process.kill()  # it holds nothing that could be lost
        self._process.communicate()


@cache
def forks() -> Forks:
    """The server of this process, started when it is first needed."""
    return Forks()
