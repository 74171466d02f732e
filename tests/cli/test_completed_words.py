"""Every word that a running system knows is completed where a command takes it; in this process, without a shell."""

from __future__ import annotations

import pytest
from typer.main import get_command

from jobrunner.cli import complete
from jobrunner.cli.main import app
from jobrunner.db.engine import open_database
from jobrunner.node.state import Identity, State
from jobrunner.queue import store
from tests.cli.conftest import Jr

KNOWN = {  # names of parameters that take what there is already
    *("task_id", "task_ids", "task_type", "queue", "queues", "of_queue", "of_queues", "node", "node_id"),
    *("key_id", "operation_id", "fingerprint"),
}
NEW = {"submit --task-id", "rerun --task-id"}  # these name what there is not yet


def test_whatever_is_known_is_completed() -> None:
    assert _uncompleted(get_command(app), "") == []


def _uncompleted(command: object, path: str) -> list[str]:
    found = []
    for name, below in getattr(command, "commands", {}).items():
        found += _uncompleted(below, f"{path} {name}".strip())
        found += [
            f"{path} {name} {one.opts[0]}".strip()
            for one in below.params
            if one.name in KNOWN and one._custom_shell_complete is None
        ]
    return [one for one in found if one not in NEW]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("wait in", ["in1", "in2"]),
        ("status in", ["in1", "in2"]),
        ("worker --queues ", ["default", "imports", "slow"]),
        ("up --queues imports,", ["imports,default", "imports,slow"]),
        ("nodes test ", ["Lives"]),
        ("nodes remove ", ["the-id-of-Gone"]),
    ],
)
def test_what_is_offered(
    jr: Jr,
    sqlite_url: str,
    words: str,
    offered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    monkeypatch.setattr(complete, "WITHIN", 30.0)
    for task_id, queue in (("in1", "imports"), ("in2", "slow"), ("out", "slow")):
        assert jr("submit", "add", "--task-id", task_id, "--queue", queue).code == 0
    database = open_database(sqlite_url)
    with database.begin() as conn:
        for name in ("Lives", "Gone"):
            node = Identity(name, slots=2, types=(), queues=None, address=None, heartbeat_interval=60.0)
            store.register(conn, {**node.columns(), **State().columns(), "id": f"the-id-of-{name}"})
        store.stopped(conn, "the-id-of-Gone", "")
    database.dispose()
    monkeypatch.setenv("_JOBRUNNER_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"jobrunner {words}")
    with pytest.raises(SystemExit):
        jr()
    assert capsys.readouterr().out.split() == offered
