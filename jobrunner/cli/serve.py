"""``up``, ``worker`` and ``api``: the processes that stay."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from jobrunner.cli import values
from jobrunner.cli.options import AsJson, ConfigFile, search_here, settings_of
from jobrunner.cli.output import document, talk

if TYPE_CHECKING:
    from jobrunner.runtime import Process
    from jobrunner.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to serve on (default: 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port to serve on (default: 8900).")]
KeyFile = Annotated[Path | None, typer.Option("--ssl-keyfile", metavar="FILE", help="Serve HTTPS with this key.")]
CertFile = Annotated[Path | None, typer.Option("--ssl-certfile", metavar="FILE", help="... and this certificate.")]
LogLevel = Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR (default: INFO).")]
NodeName = Annotated[str | None, typer.Option(help="The node's name (default: this machine's).")]
MaxWorkers = Annotated[int | None, typer.Option(help="Tasks at the same time (default: 4).")]
Queues = Annotated[str | None, typer.Option(metavar="A,B", help="Work on these queues only.")]
Handlers = Annotated[str | None, typer.Option(metavar="PKG.MODULE,...", help="Modules with your @task functions.")]
TdxRoot = Annotated[Path | None, typer.Option(metavar="FOLDER", help="The vipdoc folder that imports read.")]
Once = Annotated[bool, typer.Option("--once", help="Run one task, then end.")]
UntilEmpty = Annotated[bool, typer.Option("--until-empty", help="End when nothing is left to do in its queues.")]
IdleTimeout = Annotated[
    float | None, typer.Option(parser=values.duration, metavar="5m", help="End after this long without a task.")
]


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Import generated sample data and show it.")] = False,
    host: Host = None,
    port: Port = None,
    max_workers: MaxWorkers = None,
    queues: Queues = None,
    node_name: NodeName = None,
    handlers: Handlers = None,
    tdx_root: TdxRoot = None,
    once: Once = False,
    until_empty: UntilEmpty = False,
    idle_timeout: IdleTimeout = None,
    ssl_keyfile: KeyFile = None,
    ssl_certfile: CertFile = None,
    log_level: LogLevel = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Do everything in one process: migrate, work, serve the API and the page, fire schedules."""
    flags = _flags(host, port, ssl_keyfile, ssl_certfile, log_level)
    flags |= _work_flags(max_workers, queues, node_name, handlers, tdx_root)
    if demo:
        from jobrunner.cli.demo import run_demo

        raise typer.Exit(run_demo(flags, config, until_empty=until_empty, as_json=as_json))
    ends = {"once": once, "until_empty": until_empty, "idle_timeout": idle_timeout}
    raise typer.Exit(_run("up", flags, config, as_json, **ends))


def worker(
    host: Host = None,
    port: Annotated[int | None, typer.Option(help="Also serve the API here, as one node.")] = None,
    max_workers: MaxWorkers = None,
    queues: Queues = None,
    node_name: NodeName = None,
    handlers: Handlers = None,
    tdx_root: TdxRoot = None,
    once: Once = False,
    until_empty: UntilEmpty = False,
    idle_timeout: IdleTimeout = None,
    ssl_keyfile: KeyFile = None,
    ssl_certfile: CertFile = None,
    log_level: LogLevel = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Run tasks: any number of these on any number of machines; on SQLite one."""
    flags = _flags(host, port, ssl_keyfile, ssl_certfile, log_level)
    flags |= _work_flags(max_workers, queues, node_name, handlers, tdx_root)
    ends = {"once": once, "until_empty": until_empty, "idle_timeout": idle_timeout}
    raise typer.Exit(_run("worker", flags, config, as_json, **ends))


def api(
    host: Host = None,
    port: Port = None,
    handlers: Handlers = None,
    ssl_keyfile: KeyFile = None,
    ssl_certfile: CertFile = None,
    log_level: LogLevel = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Serve the API and the page without running tasks."""
    flags = _flags(host, port, ssl_keyfile, ssl_certfile, log_level) | {"handlers": handlers}
    raise typer.Exit(_run("api", flags, config, as_json))


def _flags(
    host: str | None, port: int | None, ssl_keyfile: Path | None, ssl_certfile: Path | None, log_level: str | None
) -> dict[str, Any]:
    return {
        "host": host,
        "port": port,
        "ssl_keyfile": ssl_keyfile,
        "ssl_certfile": ssl_certfile,
        "log_level": log_level,
    }


def _work_flags(
    max_workers: int | None, queues: str | None, node_name: str | None, handlers: str | None, tdx_root: Path | None
) -> dict[str, Any]:
    return {
        "max_workers": max_workers,
        "queues": queues,
        "node_name": node_name,
        "handlers": handlers,
        "tdx_root": tdx_root,
    }


def _run(
    role: Literal["up", "worker", "api"], flags: dict[str, Any], config: Path | None, as_json: bool, **ends: Any
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

    return run(loaded.settings, Plan(role, make_app, on_ready=ready, **ends))


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
    logs.setup(log_level or settings.log_level, settings.log_format, settings.log_file)
    search_here()


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    panel = "Run"
    app.command(rich_help_panel=panel, epilog="Example: jobrunner up --demo")(up)
    app.command(
        rich_help_panel=panel,
        epilog="Example: jobrunner worker --port 8900 --node-name Worker-1 --max-workers 16",
    )(worker)
    app.command(rich_help_panel=panel, epilog="Example: jobrunner api --port 8080")(api)
