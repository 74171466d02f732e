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
        )
        atexit.register(self.close)

    def carry_out(self, order: Mapping[str, Any]) -> int:
        """The exit code of the process that carried out this order; raises RehearsalError where the server is gone."""
        with self._asking:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            try:
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()
                answer = self._process.stdout.readline()
            except OSError:
                answer = ""
        if not answer.strip():
            forks.cache_clear()
            self.close()
            raise RehearsalError("the program that forks the processes of rehearsals has ended; its output says why")
        return int(answer)

    def close(self) -> None:
        """End it, and wait for its end."""
        atexit.unregister(self.close)
        self._process.kill()  # it holds nothing that could be lost
        self._process.communicate()


@cache
def forks() -> Forks:
    """The server of this process, started when it is first needed."""
    return Forks()
