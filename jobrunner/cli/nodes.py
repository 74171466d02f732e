"""``nodes`` and ``types``: the processes that work, and what they can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import complete
from jobrunner.cli.bundles import bundled
from jobrunner.cli.findings import tell_findings
from jobrunner.cli.forms import Form, alone
from jobrunner.cli.live import Watch
from jobrunner.cli.options import AsJson, DryRun, Where
from jobrunner.cli.output import document, facts, plain
from jobrunner.client.errors import Refused
from jobrunner.errors import NodeAlive

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

app = typer.Typer(help="The processes that work.", invoke_without_command=True)

NodeId = Annotated[
    str, typer.Argument(metavar="ID", help="Its id, or its name where one has it.", autocompletion=complete.node_names)
]
GoneId = Annotated[
    str,
    typer.Argument(metavar="ID", help="Its id, or its name where one has it.", autocompletion=complete.gone_node_ids),
]
Everyone = Annotated[bool, typer.Option("--all", help="Also those that stopped or died.")]

_NODE = (
    *("name", "host", "pid", "alive", "state", "running", "slots", "completed", "failed", "cpu_percent"),
    *("memory_percent", "heartbeat_at", "address", "id"),
)
_UNSEEN = ("host", "id")
_TYPE = ("name", "nodes", "queue", "priority", "max_attempts", "timeout", "description", "published_at")


@app.callback()
@bundled
def nodes(
    ctx: typer.Context,
    everyone: Everyone = False,
    form: Form = Form(),
    watch: Watch = Watch(),
    where: Where = Where(),
) -> None:
    """The processes that work: without a command, a list of those that live."""
    if alone(ctx, everyone, form, watch, where):
        _list(everyone, form, watch, where)


@app.command("list", epilog="Examples:\n\njobrunner nodes list --all --json\n\njobrunner nodes list --watch")
@bundled
def list_nodes(everyone: Everyone = False, form: Form = Form(), watch: Watch = Watch(), where: Where = Where()) -> None:
    """List the nodes that live."""
    _list(everyone, form, watch, where)


def _list(everyone: bool, form: Form, watch: Watch, where: Where) -> None:
    opener = where.opener()

    def look() -> dict[str, Any]:
        with opener() as asked:
            told = asked.nodes()
        return told if everyone else {**told, "nodes": [node for node in told["nodes"] if node["alive"]]}

    watch.show(form, look, "nodes", _NODE, unseen=_UNSEEN)
    form.all(look(), "nodes", "id", _NODE, unseen=_UNSEEN)


@app.command()
@bundled
def show(node_id: NodeId, as_json: AsJson = False, where: Where = Where()) -> None:
    """Tell everything about one node."""
    with where.desk() as asked:
        told = asked.node(_id(asked, node_id))
    document(told) if as_json else facts(told.items())


@app.command(epilog="Example: jobrunner nodes drain Worker-1")
@bundled
def drain(node_id: NodeId, as_json: AsJson = False, where: Where = Where()) -> None:
    """Have a node begin nothing more, from its next heartbeat on; what runs goes on, and the process stays."""
    with where.desk() as asked:
        told = asked.drain_node(_id(asked, node_id))
    _tell(told, as_json, f"node {told['name']} begins nothing more; {told['running']} tasks still run on it")


@app.command()
@bundled
def resume(node_id: NodeId, as_json: AsJson = False, where: Where = Where()) -> None:
    """Have a drained node work again, from its next heartbeat on."""
    with where.desk() as asked:
        told = asked.resume_node(_id(asked, node_id))
    _tell(told, as_json, f"node {told['name']} works again")


@app.command(epilog="Example: jobrunner nodes remove Worker-1")
@bundled
def remove(node_id: GoneId, dry_run: DryRun = False, as_json: AsJson = False, where: Where = Where()) -> None:
    """Forget a node that ended or fell silent, before a day has passed; its tasks are given to others all the same."""
    with where.desk() as asked:
        known = _id(asked, node_id, alive=False)
        if dry_run:
            told = asked.node(known)
            if told["alive"]:
                raise NodeAlive(known)
            said = f"node {told['name']} ({known}) was last heard of at {told['heartbeat_at']}"
            _tell({"id": known, "removed": False, "would_remove": True}, as_json, said)
            return
        asked.remove_node(known)
    _tell({"id": known, "removed": True}, as_json, f"node {node_id} is removed")


@app.command("test", epilog="Example: jobrunner nodes test Worker-1 --json")
@bundled
def tried(node_id: NodeId, as_json: AsJson = False, where: Where = Where()) -> None:
    """Tell how a node is and whether it answers to this machine; exits with 4 where it cannot work."""
    from jobrunner.client.checkup_node import node

    with where.desk() as asked:
        told = asked.node(_id(asked, node_id))
    tell_findings(list(node(told)), as_json)


def types(form: Form = Form(), where: Where = Where()) -> None:
    """List the task types that workers published, and the nodes that run each."""
    with where.desk() as asked:
        told = asked.types()
    form.all(told, "types", "name", _TYPE, unseen=("published_at", "priority", "max_attempts"))


def _id(asked: Desk, text: str, *, alive: bool = True) -> str:
    """The id of the node with this id, else with this name: of several the one that lives, or that does not."""
    try:
        known = asked.nodes()["nodes"]
    except Refused as refused:
        if refused.status != 403:
            raise
        return text  # of a key that may operate and not look: the id will do
    if any(node["id"] == text for node in known):
        return text
    found = [node for node in known if node["name"] == text]
    meant = [node for node in found if node["alive"] == alive] or found
    ids = {str(node["id"]) for node in meant}
    if not ids:  # of more than a thousand nodes the list tells no more
        return str(asked.node(text)["id"])
    if len(ids) > 1:
        raise typer.BadParameter(
            f"{text} is the name of {len(ids)} nodes: give the id of one: {', '.join(sorted(ids))}"
        )
    return ids.pop()


def _tell(told: dict[str, Any], as_json: bool, said: str) -> None:
    document(told) if as_json else plain(said)


def add_to(app_: typer.Typer) -> None:
    """Register the commands."""
    panel = "Fleet and schedules"
    app_.add_typer(app, name="nodes", rich_help_panel=panel)
    app_.command(rich_help_panel=panel, epilog="Example: jobrunner types --json")(bundled(types))
