"""``schedules``: work that comes again, by cron or at an interval."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import complete, values
from jobrunner.cli.again import once
from jobrunner.cli.bundles import bundled
from jobrunner.cli.forms import Form
from jobrunner.cli.options import AsJson, DryRun, TaskType, Where
from jobrunner.cli.output import document, facts, plain, table, talk
from jobrunner.client.errors import Refused

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

app = typer.Typer(help="Work that comes again, by cron or at an interval.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name.", autocompletion=complete.schedule_names)
]

CronText = Annotated[str | None, typer.Option(help="Five fields, as in crontab; 0 and 7 are Sunday.")]
Interval = Annotated[float | None, typer.Option(parser=values.duration, metavar="5m", help="An interval.")]
Queue = Annotated[str | None, typer.Option(help="The queue of its tasks.", autocompletion=complete.queue_names)]
Priority = Annotated[int | None, typer.Option(help="1 to 10, 1 first.")]

_SCHEDULE = ("name", "cron", "every", "timezone", "task_type", "queue", "paused", "next_at", "fired_at", "error")

EXAMPLES = """Examples:

jobrunner schedules add nightly data_import --cron "30 17 * * 1-5" --timezone Asia/Shanghai symbols:='["000001.SZ"]'

jobrunner schedules add beat ping --every 5m"""


EDITS = """Examples:

jobrunner schedules edit nightly --cron "0 18 * * 1-5" symbols:='["000001.SZ", "600000.SH"]'

jobrunner schedules edit beat --every 10m --timeout none"""


@app.command("list")
@bundled
def list_schedules(form: Form = Form(), where: Where = Where()) -> None:
    """List the schedules, the next to fire first."""
    with where.desk() as asked:
        told = asked.schedules()
    form.all(told, "schedules", "name", _SCHEDULE)


@app.command()
@bundled
def show(name: Name, as_json: AsJson = False, where: Where = Where()) -> None:
    """Tell everything about one schedule."""
    with where.desk() as asked:
        told = asked.schedule(name)
    document(told) if as_json else facts(told.items())


@app.command(epilog=EXAMPLES)
@bundled
def add(
    name: Name,
    task_type: TaskType,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="key=text, key:=json, @file.json, or - for standard input."),
    ] = None,
    cron: CronText = None,
    every: Interval = None,
    timezone: Annotated[str, typer.Option(help="The zone of the cron expression.")] = "UTC",
    queue: Queue = None,
    priority: Priority = None,
    max_attempts: Annotated[int | None, typer.Option(help="How many failures end a task.")] = None,
    timeout: Annotated[
        float | None, typer.Option(parser=values.duration, metavar="5m", help="Limit of each attempt.")
    ] = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Add a schedule, or replace the one of this name."""
    entry = {
        "cron": cron,
        "every": every,
        "timezone": timezone,
        "task_type": task_type,
        "task_data": values.arguments(items or []),
        "queue": queue,
        "priority": priority,
        "max_attempts": max_attempts,
        "timeout": timeout,
    }
    with where.desk() as asked:
        replaced = _is_there(asked, name)
        told = asked.save_schedule(name, entry)
    _tell(told, as_json, " is replaced and" if replaced else "")


@app.command(epilog=EDITS)
@bundled
def edit(
    name: Name,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="Arguments that change: key=text, key:=json, @file.json, or -."),
    ] = None,
    cron: CronText = None,
    every: Interval = None,
    timezone: Annotated[str | None, typer.Option(help="The zone of the cron expression.")] = None,
    task_type: Annotated[
        str | None, typer.Option(help="The name of the kind of work.", autocompletion=complete.type_names)
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(metavar="NAME|none", help="The queue of its tasks.", autocompletion=complete.queue_names),
    ] = None,
    priority: Annotated[str | None, typer.Option(metavar="N|none", help="1 to 10, 1 first.")] = None,
    max_attempts: Annotated[str | None, typer.Option(metavar="N|none", help="How many failures end a task.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="5m|none", help="Limit of each attempt.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="The arguments that are given are all: those of before go.")
    ] = False,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Change some of a schedule, and keep the rest; with none, an option is the handler's own."""
    given: dict[str, Any] = {"cron": cron, "every": every, "timezone": timezone, "task_type": task_type}
    if items or replace:
        given["task_data" if replace else "arguments"] = values.arguments(items or [])
    changes = {key: value for key, value in given.items() if value is not None}
    for key, text, read in (
        ("queue", queue, str),
        ("priority", priority, values.whole),
        ("max_attempts", max_attempts, values.whole),
        ("timeout", timeout, values.duration),
    ):
        if text is not None:
            changes[key] = values.or_none(text, f"--{key.replace('_', '-')}", read)
    if not changes:
        raise typer.BadParameter("nothing is to change: give an option or an argument; see --help")
    with where.desk() as asked:
        told = asked.edit_schedule(name, changes)
    _tell(told, as_json, " is changed and")
    if told["declared"]:
        talk("It stands in a configuration file, too: the next start brings back what is said there.")


@app.command()
@bundled
def pause(name: Name, as_json: AsJson = False, where: Where = Where()) -> None:
    """Stop a schedule until it is resumed."""
    with where.desk() as asked:
        told = asked.pause_schedule(name)
    _tell(told, as_json)


@app.command()
@bundled
def resume(name: Name, as_json: AsJson = False, where: Where = Where()) -> None:
    """Let a schedule fire again; what it missed is not made up."""
    with where.desk() as asked:
        told = asked.resume_schedule(name)
    _tell(told, as_json)


@app.command()
@bundled
def run(name: Name, as_json: AsJson = False, where: Where = Where()) -> None:
    """Submit a schedule's task now, besides its instants; prints the task_id."""
    with where.desk() as asked:
        look = f"before you run it again, look with: jobrunner list --q {shlex.quote(f'{name}@')}"
        told = once(lambda: asked.run_schedule(name), look)
    document(told) if as_json else plain(told["task_id"])


@app.command()
@bundled
def remove(name: Name, dry_run: DryRun = False, as_json: AsJson = False, where: Where = Where()) -> None:
    """Delete a schedule; the tasks that it submitted stay."""
    with where.desk() as asked:
        if dry_run:
            found = asked.schedule(name)
            said = f"schedule {name} submits {found['task_type']}, next at {found['next_at'] or 'no time'}"
            document({"name": name, "removed": False, "would_remove": True}) if as_json else plain(said)
            return
        asked.remove_schedule(name)
    document({"name": name, "removed": True}) if as_json else plain(f"schedule {name} is removed")


@app.command("next")
@bundled
def next_instants(
    name: Name,
    count: Annotated[int, typer.Option("-n", min=1, max=1_000, help="How many.")] = 5,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Print the next instants of a schedule, in its own zone."""
    with where.desk() as asked:
        found = asked.schedule(name)
    instants = _instants(found, count)
    if as_json:
        document({"name": name, "timezone": found["timezone"], "next": [_wire(at) for at in instants]})
    else:
        from jobrunner.background.cron import find_zone

        zone = find_zone(found["timezone"])
        table(("at", "weekday", "utc"), ([*_there(at.astimezone(zone)), _wire(at)] for at in instants))


def _instants(schedule: dict[str, Any], count: int) -> list[datetime]:
    from jobrunner.background.schedules import clock

    anchor = datetime.fromisoformat(schedule["anchor"])
    ticking = clock(schedule["cron"], schedule["every"], schedule["timezone"], anchor)

    def following() -> Any:
        at: datetime | None = datetime.now(UTC)
        while at is not None:
            at = ticking.next_after(at)
            yield at

    instants = takewhile(lambda at: at is not None, following())
    return [at for at, _ in zip(instants, range(count), strict=False)]


def _wire(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _there(at: datetime) -> tuple[str, str]:
    return at.isoformat(timespec="seconds"), at.strftime("%A")


def _is_there(asked: Desk, name: str) -> bool:
    try:
        return any(one["name"] == name for one in asked.schedules()["schedules"])
    except Refused:
        return False  # a key that may not look may save all the same


def _tell(schedule: dict[str, Any], as_json: bool, done: str = "") -> None:
    if as_json:
        document(schedule)
    elif schedule["paused"]:
        plain(f"schedule {schedule['name']}{done} is paused")
    else:
        plain(f"schedule {schedule['name']}{done} fires next at {schedule['next_at']}")
