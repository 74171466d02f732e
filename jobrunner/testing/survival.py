"""A task that is killed at each of its steps, one after the other, and run again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner.handlers import registry
from jobrunner.queue.request import new_task
from jobrunner.queue.task import Status, Task
from jobrunner.submission import submit
from jobrunner.testing.attempt import claim
from jobrunner.testing.compare import Left, differences
from jobrunner.testing.databases import copies
from jobrunner.testing.errors import RehearsalError
from jobrunner.testing.rehearsal import TASK_ID, Rehearsal
from jobrunner.testing.report import Report, Step

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jobrunner.db.engine import Database

_OPTIONS = frozenset(signature(new_task).parameters) - {"task_type", "payload", "task_id"}


def survive(
    task_type: str,
    payload: Mapping[str, Any] | None = None,
    *,
    database_url: str | None = None,
    prepare: Callable[[Connection], object] | None = None,
    state: Callable[[Connection], Mapping[str, Any]] | None = None,
    fakes: Callable[[], object] | None = None,
    ignore: Collection[str] = (),
    environ: Callable[[str], Mapping[str, str]] | None = None,
    modules: Sequence[str] = (),
    preload: Sequence[str] = (),
    at: Iterable[int] | None = None,
    expect: str = Status.COMPLETED,
    timeout: float = 60.0,
    **options: Any,
) -> Report:
    """Run a task undisturbed, then again for each of its steps, killed there and run to its end by a next attempt.

    Each run has a fresh copy of a database: a SQLite file, or a database beside the PostgreSQL one of ``database_url``,
    whose user must be allowed to create databases. Each attempt is a process of its own that ends with ``os._exit``
    at its step, and imports the handler's module and ``modules`` anew.

    ``prepare`` fills the database before the runs. ``state`` returns what is compared: rows by a name; without it, all
    of every table that is not jobrunner's. ``ignore`` names columns, and keys of results, that are not compared.
    Compared as well are status and result of the task, the tasks that it added, and the calls that its fakes told by
    :func:`jobrunner.testing.call`; ``fakes`` is a module's function that is called in each process before the task.

    ``environ`` makes variables for the processes from their database's URL; ``preload`` names modules that are slow to
    import and may be kept; ``at`` picks steps by their numbers; ``timeout`` is in seconds, for one attempt; ``options``
    are those of ``jobrunner.enqueue``.

    Raises TypeError for an option that there is not, HandlerError where no such handler is registered, InvalidInput for
    a payload that it refuses, RehearsalError where the undisturbed run does not end as ``expect`` says or has no such
    step, two such runs are not alike, or a process dies by itself.
    """
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        told = f"neither an option of survive() nor of its task, which has {', '.join(sorted(_OPTIONS))}"
        raise TypeError(f"{', '.join(unknown)}: {told}")
    handler = registry.get(task_type)
    places = [handler.function, *([] if fakes is None else [fakes])]
    for function in places:
        if function.__module__ == "__main__" or "<" in function.__qualname__:
            raise RehearsalError(f"{function.__qualname__} is no function of a module that another process can import")

    claimed: list[Task | None] = []

    def fill(database: Database) -> None:
        with database.begin(free=True) as conn:
            if prepare is not None:
                prepare(conn)
        with database.begin() as conn:
            submit(conn, task_type, payload, task_id=TASK_ID, **options)
        with database.begin() as conn:
            claimed.append(claim(conn, TASK_ID, task_type))

    with tempfile.TemporaryDirectory(prefix="jobrunner-rehearsal-") as folder:
        with copies(database_url, Path(folder), fill) as fresh:
            [task] = claimed
            assert task is not None
            one = Rehearsal(
                task,
                fresh,
                Path(folder),
                modules=list(dict.fromkeys([handler.module, *modules])),
                preload=list(preload),
                fakes=fakes,
                environ=environ,
                state=state,
                ignore=frozenset(ignore),
                timeout=timeout,
            )
            first, names = one.run(0)
            _check(first, one.run(0)[0], expect)
            wanted = range(1, len(names) + 1) if at is None else _picked(at, len(names))
            steps = [_killed(one, number, first, names) for number in wanted]
    return Report(task_type, first.status, first.result, first.calls, tuple(steps), first.attempts)


def _picked(at: Iterable[int], count: int) -> list[int]:
    wanted = sorted(set(at))
    unknown = [number for number in wanted if not 1 <= number <= count]
    if unknown:
        raise RehearsalError(
            f"at={unknown}: there is no such step; undisturbed, the task passes {count}, from step 1 on"
        )
    return wanted


def _killed(one: Rehearsal, number: int, first: Left, names: list[str]) -> Step:
    left, passed = one.run(number)
    reached = len(passed) >= number
    return Step(number, (passed if reached else names)[number - 1], tuple(differences(first, left)), reached)


def _check(first: Left, second: Left, expect: str) -> None:
    if first.status != expect:
        because = f": {first.error}" if first.error else ""
        raise RehearsalError(f"undisturbed, the task ends as {first.status}, not {expect}{because}")
    unlike = differences(first, second)
    if unlike:
        told = "\n".join(f"  {each}" for each in unlike)
        raise RehearsalError(
            f"two undisturbed runs are not alike, so that no third can be compared; name in ignore=... what may differ,"
            f" or say in state=... what counts:\n{told}"
        )
