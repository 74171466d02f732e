"""Options that many commands share, and what they lead to: the settings and a desk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import complete
from jobrunner.cli.output import talk
from jobrunner.settings.names import DEFAULTS, DERIVED, variables
from jobrunner.settings.server import VARIABLE, server_url

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk
    from jobrunner.settings import Loaded, Settings


def setting(key: str, *words: str, about: str, default: str | None = None, **more: Any) -> Any:
    """An option that is a setting: its help ends with the variables that set it too, and with its default."""
    told = default or DEFAULTS.get(key) or DERIVED[key]
    return typer.Option(*words, help=f"{about} (env {', '.join(variables(key))}; default {told})", **more)


AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, with REST's keys.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what it would be done to; change nothing.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="JSON file of settings. (env JOBRUNNER_CONFIG, NODE_CONFIG_FILE; default node_config.json if it is there)",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    setting("database_url", "--database-url", metavar="URL", about="The database: postgresql:// or sqlite:///."),
]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's task_id.", autocompletion=complete.task_ids)]
TaskType = Annotated[
    str, typer.Argument(metavar="TYPE", help="The name of the kind of work.", autocompletion=complete.type_names)
]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]
Cursor = Annotated[str | None, typer.Option(help="Go on where the last page ended: its next_cursor.")]


@dataclass(frozen=True)
class Base:
    """Which database a command works on, where no server could do that for it."""

    database_url: DatabaseUrl = None
    config: ConfigFile = None

    @property
    def settings(self) -> Settings:
        """The settings that these lead to."""
        return settings_of(self.config, {"database_url": self.database_url}).settings

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.settings.url


@dataclass(frozen=True)
class Where:
    """Whom a command asks: a server, else the database of the settings."""

    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help=f"Ask the jobrunner that serves here, not the database. (env {VARIABLE})"
        ),
    ] = None
    database_url: DatabaseUrl = None
    config: ConfigFile = None

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.url and self.database_url:
            raise typer.BadParameter("give --url or --database-url: a server is asked, or its database")

    @property
    def server(self) -> str | None:
        """The server that these name, else that of the environment; None for the database of the settings."""
        _no_database(self.url, "--url")
        if self.url or self.database_url:
            return self.url
        url = server_url()
        _no_database(url, VARIABLE)
        return url

    def opener(self) -> Callable[[], Desk]:
        """What opens a desk, as often as it is called, by settings read once."""
        self.check()
        from jobrunner.client.choose import open_desk

        search_here()  # a submission straight into the database is checked by its handler
        url = self.server
        settings = settings_of(self.config, {"database_url": self.database_url}).settings
        return lambda: open_desk(settings, url)

    def desk(self) -> Desk:
        """Open the desk that these lead to; for a ``with`` block."""
        return self.opener()()


def _no_database(url: str | None, named: str) -> None:
    _not_empty(url, named)
    scheme, found, _ = (url or "").partition("://")
    if found and scheme.lower() not in ("http", "https"):
        raise typer.BadParameter(
            f"{named} takes the address of a running jobrunner, such as http://127.0.0.1:8900; "
            f"a database ({scheme}://...) is named by --database-url or JOBRUNNER_DATABASE_URL"
        )


def _not_empty(url: str | None, named: str) -> None:
    if url == "":  # of a variable that is not set, say: another place would be asked than was meant
        raise typer.BadParameter(f"{named} is empty; leave it out to ask where the settings say")


_traceback_wanted = False


def want_traceback() -> None:
    """From now on an error shows its traceback."""
    global _traceback_wanted
    _traceback_wanted = True


def traceback_wanted() -> bool:
    """Whether ``--debug`` or the log level DEBUG asks for tracebacks."""
    return _traceback_wanted


def settings_of(config: Path | None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """Load the settings; tells their warnings."""
    from jobrunner.settings import load

    given = (flags or {}).get("database_url")
    _not_empty(given, "--database-url")
    database = given or ""
    if database.lower().startswith(("http://", "https://")):
        raise typer.BadParameter(f"--database-url names a database; a running jobrunner ({database}) is named by --url")
    loaded = load(flags, config)
    for warning in loaded.warnings:
        talk(f"warning: {warning}")
    if loaded.settings.log_level == "DEBUG":
        want_traceback()
    return loaded


def search_here() -> None:
    """Find modules of handlers in the working directory: in every command that may load them."""
    here = str(Path.cwd())
    if here not in sys.path:  # behind all others: a file of the user's must not hide an installed module
        sys.path.append(here)
