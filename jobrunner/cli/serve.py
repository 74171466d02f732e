"""``up``, ``worker`` and ``api``: the processes that stay."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from jobrunner.cli import complete, values
from jobrunner.cli.browser import open_page
from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, ConfigFile, DatabaseUrl, search_here, setting, settings_of
from jobrunner.cli.output import document, talk
from jobrunner.errors import SettingsError
from jobrunner.settings import colors
from jobrunner.settings.names import variables

if TYPE_CHECKING:
    from jobrunner.runtime import Process
    from jobrunner.settings import Settings

NO_KEY = (
    f"A key is set by {' or '.join(variables('api_key'))} or in the config file, or made by: jobrunner keys create. "
    "There is no option for it: everybody on the machine can read command lines."
)

Port = Annotated[int | None, setting("port", "--port", about="Port to serve on.")]
NodePort = Annotated[
    int | None, setting("port", "--port", about="Also serve the API here, as one node.", default="none; on SQLite 8900")
]


@dataclass(frozen=True)
class Stay:
    """What every process that stays can be told."""

    host: Annotated[str | None, setting("host", "--host", about="Address to serve on.")] = None
    allow_from: Annotated[
        str | None,
        setting(
            "allow_from",
            "--allow-from",
            metavar="NETWORK,...",
            about="Networks whose clients may read and submit without a key.",
        ),
    ] = None
    root_path: Annotated[
        str | None,
        setting(
            "root_path",
            "--root-path",
            metavar="PATH",
            about="The path under which a proxy serves it; the proxy takes it off.",
        ),
    ] = None
    database_url: DatabaseUrl = None
    handlers: Annotated[
        str | None,
        setting("handlers", "--handlers", metavar="PKG.MODULE,...", about="Modules with your @task functions."),
    ] = None
    lease_seconds: Annotated[
        float | None,
        setting(
            "lease_seconds",
            "--lease",
            parser=values.duration,
            metavar="30s",
            about="How long a silent worker keeps its tasks.",
        ),
    ] = None
    grace: Annotated[
        float | None,
        setting("grace", "--grace", parser=values.duration, metavar="25s", about="How long a stop waits for tasks."),
    ] = None
    ssl_keyfile: Annotated[
        Path | None, setting("ssl_keyfile", "--ssl-keyfile", metavar="FILE", about="Serve HTTPS with this key.")
    ] = None
    ssl_certfile: Annotated[
        Path | None, setting("ssl_certfile", "--ssl-certfile", metavar="FILE", about="... and this certificate.")
    ] = None
    log_level: Annotated[
        str | None, setting("log_level", "--log-level", about="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    ] = None


@dataclass(frozen=True)
class Work:
    """What a process that runs tasks can be told besides."""

    max_workers: Annotated[int | None, setting("max_workers", "--max-workers", about="Tasks at the same time.")] = None
    queues: Annotated[
        str | None,
        setting(
            "queues",
            "--queues",
            metavar="A,B",
            about="Work on these queues only.",
            autocompletion=complete.queue_lists,
        ),
    ] = None
    node_name: Annotated[str | None, setting("node_name", "--node-name", about="The node's name.")] = None
    tdx_root: Annotated[
        Path | None, setting("tdx_root", "--tdx-root", metavar="FOLDER", about="The vipdoc folder that imports read.")
    ] = None


@dataclass(frozen=True)
class Stint:
    """How long a process that runs tasks stays, and what it leaves to others."""

    once: Annotated[bool, typer.Option("--once", help="Run one task, then end.")] = False
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing is left to do in its queues.")
    ] = False
    idle_timeout: Annotated[
        float | None, typer.Option(parser=values.duration, metavar="5m", help="End after this long without a task.")
    ] = None
    no_cron: Annotated[bool, typer.Option("--no-cron", help="Fire no schedules: other processes do.")] = False

    @property
    def plan(self) -> dict[str, Any]:
        """The same as a Plan has it."""
        told = dict(vars(self))
        return {"fires": not told.pop("no_cron"), **told}


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Import generated sample data and show it.")] = False,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in the browser once it answers.")] = False,
    port: Port = None,
    work: Work = Work(),
    stint: Stint = Stint(),
    stay: Stay = Stay(),
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Do everything in one process: migrate, work, serve the API and the page, fire schedules."""
    flags = {"port": port, **vars(stay), **vars(work)}
    if demo:
        from jobrunner.cli.demo import run_demo

        told = {"until_empty": stint.until_empty, "fires": not stint.no_cron, "as_json": as_json, "opens": opens}
        raise typer.Exit(run_demo(flags, config, **told))
    raise typer.Exit(_run("up", flags, config, as_json, opens=opens, **stint.plan))


def worker(
    port: NodePort = None,
    work: Work = Work(),
    stint: Stint = Stint(),
    stay: Stay = Stay(),
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Run tasks: any number of these on any number of machines; on SQLite one."""
    flags = {"port": port, **vars(stay), **vars(work)}
    raise typer.Exit(_run("worker", flags, config, as_json, **stint.plan))


def api(
    port: Port = None,
    stay: Stay = Stay(),
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Serve the API and the page without running tasks."""
    raise typer.Exit(_run("api", {"port": port, **vars(stay)}, config, as_json))


def _run(
    role: Literal["up", "worker", "api"],
    flags: dict[str, Any],
    config: Path | None,
    as_json: bool,
    *,
    opens: bool = False,
    **plan: Any,
) -> int:
    loaded = settings_of(config, flags)
    prepare(loaded.settings)

    with _uncollected():
        from jobrunner.cli.compose import make_app
        from jobrunner.runtime import Plan, run

    def ready(process: Process) -> None:
        if as_json:
            document({"url": process.url, "pid": os.getpid()})
        elif sys.stderr.isatty():  # elsewhere the log's line says it, and programs read only such lines
            where = f" at {process.url}" if process.url else ""
            talk(f"jobrunner is ready{where} (Ctrl-C ends it)")
        if opens:
            open_page(process)

    return run(loaded.settings, Plan(role, make_app, on_ready=ready, **plan))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import without looking for garbage: nothing of it is, and the looking took a tenth of a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def prepare(settings: Settings, log_level: str | None = None) -> None:
    """Logs as the settings say, and user modules found in the working directory."""
    # structlog takes these where it finds them, and with rich all of Pygments: 5 MB of every worker, for tracebacks in
    # colours and a kind of threads that are not ours. A name that stands for None cannot be imported.
    hidden = [name for name in ("rich", "greenlet") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, cast("ModuleType", None)))
    from jobrunner import logs

    for name in hidden:
        del sys.modules[name]
    from jobrunner.settings.log_file import check_log_file

    check_log_file(settings)
    try:
        logs.setup(
            *(log_level or settings.log_level, settings.log_format, settings.log_file),
            colors=None if colors.wanted() else False,
        )
    except OSError as error:
        raise SettingsError(f"log_file: {settings.log_file} cannot be written: {error.strerror}") from error
    search_here()


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    panel = "Run"
    app.command(rich_help_panel=panel, epilog=f"Example: jobrunner up --demo\n\n{NO_KEY}")(bundled(up))
    example = "Example: jobrunner worker --port 8900 --node-name Worker-1 --max-workers 16"
    app.command(rich_help_panel=panel, epilog=f"{example}\n\n{NO_KEY}")(bundled(worker))
    app.command(rich_help_panel=panel, epilog=f"Example: jobrunner api --port 8080\n\n{NO_KEY}")(bundled(api))
