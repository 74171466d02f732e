"""Storing a task when answers are lost: asked for again under one id, so that one task comes of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Any

from jobrunner.cli.output import talk
from jobrunner.cli.patience import reason
from jobrunner.client.errors import OutcomeUnknown, Refused, Unreachable
from jobrunner.client.tries import SURELY_NOT, Tries
from jobrunner.errors import DatabaseUnavailable, JobrunnerError

STORED = "the task may have been stored"
PATIENCE = 10.0  # seconds in which it is asked for again

Answer = dict[str, Any]


class MayBeStored(OutcomeUnknown):
    """It may have been done all the same; its sentence says how to find out."""

    def __init__(self, task_id: str, error: JobrunnerError, advice: str, done: str = STORED) -> None:
        super().__init__(task_id, reason(error))
        known = f" as {task_id}" if task_id else ""
        Exception.__init__(self, f"{self.reason}, and {done}{known}: {advice}")


def stored(ask: Callable[[str], Answer], chosen: str | None) -> Answer:
    """What ``ask`` comes to, which stores a task under an id: the ``chosen`` one, else one that is made here.

    Where an answer is lost it is asked again; raises MayBeStored where none comes.
    """
    from jobrunner.queue.request import new_id  # only now: it loads what makes ids

    task_id = new_id() if chosen is None else chosen
    told = _heard(ask, task_id)
    if chosen is None and told["task_id"] == task_id:
        told["created"] = True  # by this command, whichever of its tries it was
    return told


def once(ask: Callable[[], Answer], advice: str, done: str = STORED) -> Answer:
    """What ``ask`` comes to, which makes something under an id of the server's: it is asked no second time.

    ``done`` says what may have been done where no answer comes.
    """
    try:
        return ask()
    except JobrunnerError as error:
        if _unheard(error):
            raise MayBeStored("", error, advice, done) from error
        raise


def _heard(ask: Callable[[str], Answer], task_id: str) -> Answer:
    tries: Tries | None = None
    while True:
        try:
            return ask(task_id)
        except JobrunnerError as error:
            if tries is None:
                if not _unheard(error):
                    raise
                talk(f"{reason(error)}; asking again, as task {task_id}")
                tries = Tries(PATIENCE, task_id=task_id, changes=True)
            try:
                rest = tries.after(error)
            except OutcomeUnknown:
                word = shlex.quote(task_id)
                advice = f"ask again with --task-id {word}, or look with: jobrunner status {word}"
                raise MayBeStored(task_id, error, advice) from error
        time.sleep(rest)


def _unheard(error: JobrunnerError) -> bool:
    """Whether what was asked may have been done."""
    if isinstance(error, Refused):
        return error.status >= 500 and error.code not in SURELY_NOT
    return isinstance(error, DatabaseUnavailable) or (isinstance(error, Unreachable) and error.arrived)
