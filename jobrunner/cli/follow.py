"""What a task logs, page by page, and line by line as it comes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jobrunner.cli.output import line as print_line
from jobrunner.cli.output import plain
from jobrunner.cli.patience import Patience
from jobrunner.errors import JobrunnerError

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

PAUSE = 0.5  # seconds between two looks for new lines


def print_lines(page: dict[str, Any], *, as_json: bool) -> None:
    """Print the lines of a page; as JSON one document a line."""
    for line in page["logs"]:
        print_line(line) if as_json else plain(_line(line))


def pages(
    opener: Callable[[], Desk], task_id: str, patience: Patience | None = None, until: float = math.inf
) -> Iterator[dict[str, Any]]:
    """Yield what the task logged; with ``patience`` also what it logs from now on, until it has ended.

    Raises TimeoutError where it has not at ``until``, a moment of the monotonic clock.
    """
    after = 0
    while True:
        try:
            ended, page = _new_lines(opener, task_id, after)
        except JobrunnerError as error:
            if patience is None:
                raise
            if patience.answered and time.monotonic() >= until:
                raise TimeoutError from error
            patience.rest(error)
            continue
        if patience is not None:
            patience.heard()
        after = page["next_after"]
        yield page
        if not page["logs"] and (ended or patience is None):
            return
        if not ended and time.monotonic() >= until:
            raise TimeoutError
        if not page["logs"]:
            time.sleep(max(0.0, min(PAUSE, until - time.monotonic())))


def _new_lines(opener: Callable[[], Desk], task_id: str, after: int) -> tuple[bool, dict[str, Any]]:
    """Whether the task has ended, and a page of its lines."""
    with opener() as asked:
        ended = asked.task(task_id)["completed_at"] is not None  # looked at first: what it wrote last is then read
        return ended, asked.logs(task_id, after=after)


def _line(line: dict[str, Any]) -> str:
    fields = " ".join(f"{name}={value}" for name, value in (line["fields"] or {}).items())
    return f"{line['at']} #{line['attempt']} {line['level']:<7} {line['message']} {fields}".rstrip()
