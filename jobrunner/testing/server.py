"""The program that forks the processes of rehearsals: what it has imported, no attempt has to import again.

It has no thread and no connection of its own, and so may fork. An order is one line of JSON on its standard input; the
answer is a line with the exit code of the process that carried it out, below 0 for a signal.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from jobrunner.db import migrate  # noqa: F401  as the others: an attempt finds it imported
from jobrunner.testing.attempt import BROKEN, LATE, attempt, claimed
from jobrunner.testing.warm import warm

LOOKS = 0.002  # seconds between two looks whether it has ended


def main() -> None:
    """Carry out orders until the test's process hangs up."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(_answer(json.loads(line), answers), file=answers, flush=True)


def _answer(order: dict[str, Any], answers: IO[str]) -> int:
    sys.path[:] = order["path"]
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    try:
        for module in order["preload"]:
            importlib.import_module(module)
        if (task := claimed(order["task"])) is not None:
            warm(order["url"], task)
    except Exception:  # noqa: BLE001  whatever a module of the user's raises
        Path(order["output"]).write_text(traceback.format_exc(), "utf-8")
        return BROKEN
    gc.freeze()  # else the first collection of each copy would touch, and so copy, all that is shared
    pid = os.fork()
    if pid == 0:
        answers.close()
        _carry_out(order)
    code = _exit_code(pid, order["timeout"])
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what it started ends with it, as with a worker's child
    return code


def _carry_out(order: dict[str, Any]) -> NoReturn:
    code = BROKEN
    try:
        os.setsid()
        output = os.open(order["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(file, number)
        code = attempt(order)
    except BaseException:  # noqa: BLE001  the copy of the server must not go on as one
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(pid: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return LATE
        time.sleep(LOOKS)


if __name__ == "__main__":
    main()
