"""``keys`` and ``audit``: who may ask for what, and who changed what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from jobrunner.cli import complete, values
from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, Cursor, DryRun, Limit, Where
from jobrunner.cli.output import document, plain, table, talk
from jobrunner.errors import KeyNotFound

app = typer.Typer(help="Keys of the API: who may ask for what.", no_args_is_help=True)

KeyId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The key's id, as keys list tells it; not the key itself.",
        autocompletion=complete.key_ids,
    ),
]

_KEY = ("id", "name", "scopes", "queues", "rate", "usable", "created_at", "expires_at", "used_at", "replaces")
_CHANGE = ("at", "actor", "action", "target", "details")

DAY = 86_400.0  # seconds

EXAMPLES = """Examples:

jobrunner keys create nightly-import --scope submit --scope read --queue imports --expires 90d

JOBRUNNER_API_KEY=$(jobrunner keys create me --scope admin) jobrunner status --url http://127.0.0.1:8900"""


class _Scopes(StrEnum):
    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"
    ADMIN = "admin"


@app.command(epilog=EXAMPLES)
@bundled
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for; stands in the audit.")],
    scopes: Annotated[
        list[_Scopes] | None, typer.Option("--scope", help="What it may do; may be given several times.")
    ] = None,
    of_queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            help="Its tasks are those of this queue; several times; default all queues.",
            autocompletion=complete.queue_names,
        ),
    ] = None,
    expires: Annotated[
        float | None, typer.Option(parser=values.duration, metavar="90d", help="It ends after this; default never.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second that it may make; default any.")] = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Make a key and print it, this once: what is kept of it cannot tell it again."""
    if not scopes:
        raise typer.BadParameter("say what it may do: read, submit, operate or admin", param_hint="--scope")
    wish = {
        "name": name,
        "scopes": [str(one) for one in scopes],
        "queues": of_queues or None,
        "expires_in": expires,
        "rate": rate,
    }
    with where.desk() as asked:
        told = asked.create_key(wish)
    _tell(told, as_json)


@app.command("list")
@bundled
def list_keys(as_json: AsJson = False, where: Where = Where()) -> None:
    """List the keys that were ever made, without their texts, the newest first."""
    with where.desk() as asked:
        told = asked.keys()
    if as_json:
        document(told)
    else:
        rows = ([one[name] for name in _KEY] for one in told["keys"])
        table(_KEY, rows, unseen=("rate", "replaces", "created_at"))


@app.command(epilog="Example: jobrunner keys rotate 3fJ0aQ91xY --overlap 1h")
@bundled
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        float | None,
        typer.Option(parser=values.duration, metavar="1d", help="How long the old one goes on; default a day."),
    ] = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Make a key that may do the same and print it; the old one ends after the overlap."""
    with where.desk() as asked:
        told = asked.rotate_key(key_id, DAY if overlap is None else overlap)
    _tell(told, as_json)


@app.command()
@bundled
def revoke(key_id: KeyId, dry_run: DryRun = False, as_json: AsJson = False, where: Where = Where()) -> None:
    """End a key; within five seconds it opens nothing any more, on any node."""
    with where.desk() as asked:
        if dry_run:
            found = next((one for one in asked.keys()["keys"] if one["id"] == key_id), None)
            if found is None:
                raise KeyNotFound(key_id)
            used = f"last used at {found['used_at']}" if found["used_at"] else "never used"
            used = used if found["usable"] else "it has ended already"
            said = f"key {key_id} ({found['name']}) may {', '.join(found['scopes'])}; {used}"
            document({"id": key_id, "revoked": False, "would_revoke": found["usable"]}) if as_json else plain(said)
            return
        asked.revoke_key(key_id)
    document({"id": key_id, "revoked": True}) if as_json else plain(f"key {key_id} is revoked")


def audit(
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Tell who changed what, the newest first."""
    with where.desk() as asked:
        page = asked.audit(limit=limit, cursor=cursor)
    if as_json:
        document(page)
        return
    table(_CHANGE, ([one[name] for name in _CHANGE] for one in page["changes"]))
    if page["next_cursor"]:
        talk(f"more with: --cursor {page['next_cursor']}")


def _tell(told: dict[str, Any], as_json: bool) -> None:
    until = f", until {told['expires_at']}" if told["expires_at"] else ""
    talk(f"key {told['id']} ({told['name']}) may {', '.join(told['scopes'])}{until}; it is not shown again:")
    document(told) if as_json else plain(told["key"])


def add_to(app_: typer.Typer) -> None:
    """Register the commands."""
    app_.add_typer(app, name="keys", rich_help_panel="Set up")
    app_.command(rich_help_panel="Set up", epilog="Example: jobrunner audit --json")(bundled(audit))
