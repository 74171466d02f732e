"""``bench``: measuring this installation beside bare loops on the same database."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, Base
from jobrunner.cli.output import document, plain, table, talk

if TYPE_CHECKING:
    from jobrunner.bench.scale import Scale

NAMES = ("drain", "latency", "roundtrip", "enqueue", "children", "api", "growth", "snapshot", "idle")
_ON_POSTGRESQL = ("snapshot",)
_STOPS = ("SIGTERM", "SIGHUP")  # the second of a terminal that closes; Windows has none

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAMES]...", help=f"Some of: {', '.join(NAMES)}.")]
Tasks = Annotated[int | None, typer.Option(min=1, help="Tasks to drain, requests to post (default: 20000, 10000).")]
Counts = Annotated[str | None, typer.Option("--workers", metavar="1,2", help="Worker processes to drain with.")]


def bench(
    names: Names = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of both sides in turn (default: 5).")] = None,
    tasks: Annotated[
        int | None, typer.Option(min=1, help="Tasks to drain, requests to post (default: 20000, 10000).")
    ] = None,
    workers: Counts = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, max=86_400, help="How long an old snapshot stays (default: 60).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes, one round: shows that all of it works.")] = False,
    as_json: AsJson = False,
    base: Base = Base(),
) -> None:
    """Measure jobrunner beside bare loops over the same table, in a scratch schema or file that is removed."""
    settings = base.settings
    wanted = _chosen(names or [], sqlite=settings.is_sqlite)
    scale = _scale(
        quick, rounds=rounds, tasks=tasks, children=tasks, requests=tasks, workers=_counts(workers), seconds=seconds
    )

    from jobrunner.bench.report import HEADERS, rows
    from jobrunner.bench.run import run

    for number in (getattr(signal, name) for name in _STOPS if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it for SIGHUP
            signal.signal(number, _interrupted)
    report = run(settings, wanted, scale)
    if as_json:
        document(report)
        return
    plain(f"jobrunner {report['jobrunner']}, Python {report['python']}, {report['database']}")
    table(HEADERS, rows(report), unseen=("bare_is", "range"))
    for note in report["notes"]:
        talk(note)


def _interrupted(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt  # a stop ends like Ctrl-C: processes first, then the scratch


def _chosen(names: list[str], *, sqlite: bool) -> list[str]:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(NAMES)}", param_hint="NAMES")
    refused = [name for name in names if sqlite and name in _ON_POSTGRESQL]
    if refused:
        raise typer.BadParameter(
            f"{refused[0]} needs PostgreSQL: give --database-url or set JOBRUNNER_DATABASE_URL", param_hint="NAMES"
        )
    usual = [name for name in NAMES if not (sqlite and name in _ON_POSTGRESQL)]
    return list(dict.fromkeys(names)) or usual


def _counts(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} is no list of numbers such as 1,2,8", param_hint="--workers")
    return tuple(sorted({int(part) for part in parts}))


def _scale(quick: bool, **given: Any) -> Scale:
    from dataclasses import replace

    from jobrunner.bench.scale import QUICK, Scale

    return replace(QUICK if quick else Scale(), **{name: value for name, value in given.items() if value is not None})


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Set up", epilog="Example: jobrunner bench drain latency --workers 1,2,8")(
        bundled(bench)
    )
