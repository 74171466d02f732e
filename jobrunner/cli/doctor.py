"""``doctor`` and ``health``: whether all is well here, what mends it, and the same for probes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.exits import Exit
from jobrunner.cli.findings import tell_findings
from jobrunner.cli.hints import distrust
from jobrunner.cli.options import AsJson, ConfigFile, Where, search_here, settings_of
from jobrunner.cli.output import document, plain
from jobrunner.client.trust import TRUST
from jobrunner.errors import JobrunnerError

if TYPE_CHECKING:
    from jobrunner.client.checkup import Finding
    from jobrunner.settings import Loaded

health = typer.Typer(help="Probes for containers and supervisors.", no_args_is_help=True)

ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The server. (env JOBRUNNER_URL; default the one of this SQLite file, else where the settings say)",
    ),
]


def doctor(as_json: AsJson = False, where: Where = Where()) -> None:
    """Look at everything that a jobrunner needs, and tell what mends what is wrong; exits with 4 if anything is."""
    where.check()
    loaded = settings_of(where.config, {"database_url": where.database_url})
    tell_findings(list(_findings(loaded, where)), as_json)


def _findings(loaded: Loaded, where: Where) -> Iterator[Finding]:
    from jobrunner.client import checkup
    from jobrunner.client.checkup_database import database
    from jobrunner.client.checkup_here import here

    search_here()  # as a worker that is started here
    yield from here(loaded)
    if where.server is None:
        about = list(database(loaded.settings))
        yield from about
        if any(one.level is checkup.Level.FAIL for one in about):
            return
    try:
        with where.desk() as asked:
            yield from checkup.fleet(asked)
    except JobrunnerError as error:
        untrusted = distrust(error)
        fix = TRUST if untrusted else "set that right first; see: jobrunner status"
        yield checkup.fail("fleet", untrusted or str(error), fix)


@health.command()
def live(url: ServerUrl = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Exit with 0 while the process answers, else with 7; asks nothing of the database."""
    _probe("/healthz", url, as_json, config)


@health.command()
def ready(url: ServerUrl = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Exit with 0 while it can serve, with 4 and the reasons while it cannot, with 7 where nobody answers."""
    _probe("/readyz", url, as_json, config)


def _probe(path: str, url: str | None, as_json: bool, config: Any) -> None:
    import httpx2

    from jobrunner.client.checkup_here import probe, said, served_url
    from jobrunner.client.errors import Unreachable

    asked = Where(url=url).server or served_url(settings_of(config).settings)
    asked = asked.rstrip("/") if "://" in asked else f"http://{asked.rstrip('/')}"
    try:
        answer = probe(asked, path)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise Unreachable(asked, str(error) or type(error).__name__) from error
    told = said(answer)
    if told is None:
        raise Unreachable(asked, "something else does")
    if as_json:
        document(told)
    else:
        plain("; ".join([str(told.get("status")), *told.get("reasons", [])]))
    if answer.is_error:
        raise typer.Exit(Exit.TASK_FAILED)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(rich_help_panel="Set up", epilog="Example: jobrunner doctor --json")(bundled(doctor))
    app.add_typer(health, name="health", rich_help_panel="Set up")
