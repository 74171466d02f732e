"""One of several processes that enqueue one task after the other, with and without wake-ups.

``python -m jobrunner.bench.writer``; for each count and mode that it is told it answers when it began and ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from jobrunner.bench import helper, tasks
from jobrunner.client.local import Local


class Silent(Local):
    """A desk that wakes nobody."""

    def _hint(self, conn: Connection, hints: Mapping[str, Sequence[str]]) -> None:
        """Nothing: workers find the task by themselves."""


def main() -> None:
    """Answer until the bench is gone."""
    given = helper.told()
    handlers = (tasks.MODULE,)
    with Local(given["url"], handlers=handlers) as loud, Silent(given["url"], handlers=handlers) as silent:
        for desk in (loud, silent):
            desk.submit(tasks.NOOP, tasks.PAYLOAD, {})
        helper.answer("ready")
        while True:
            wish = helper.told()
            desk = loud if wish["wake"] else silent
            began = time.time()
            for _ in range(wish["count"]):
                desk.submit(tasks.NOOP, tasks.PAYLOAD, {})
            helper.answer({"began": began, "ended": time.time()})


if __name__ == "__main__":
    main()
