"""``up --demo``: generated sample data, imported through the queue and the API like anything else."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner.cli.browser import open_page
from jobrunner.cli.compose import make_app
from jobrunner.cli.exits import Exit
from jobrunner.cli.options import settings_of
from jobrunner.cli.output import document, facts, table, talk
from jobrunner.cli.serve import prepare
from jobrunner.cli.wait import await_tasks, exit_for, tell_result

if TYPE_CHECKING:
    from jobrunner.runtime import Process
    from jobrunner.settings import Loaded

FOLDER = "sample-vipdoc"
SOURCE = "tongdaxin"
_BARS = ("symbol", "bars", "first", "last", "last_close", "data")


def run_demo(
    flags: dict[str, Any], config: Path | None, *, until_empty: bool, as_json: bool, fires: bool, opens: bool
) -> int:
    """Write the sample, run everything, import it; returns the exit code.

    Stays until Ctrl-C on a terminal; ends when the import ended without one, or with ``until_empty``.
    """
    from jobrunner.data_import.sample import write_sample
    from jobrunner.errors import SettingsError
    from jobrunner.runtime import Plan, run

    loaded = settings_of(config, flags)
    root = loaded.settings.data_dir / FOLDER
    flags = {**flags, "tdx_root": root, "port": _port(loaded)}
    settings = settings_of(config, flags).settings
    quiet = "WARNING" if loaded.sources["log_level"] == "default" else None
    prepare(settings, quiet)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        symbols = write_sample(root)
    except OSError as error:
        raise SettingsError(f"the sample cannot be written into {root}: {error}") from error
    talk(f"Sample data, generated: no such securities exist. Written to {root}")
    played = _Played(symbols, stays=sys.stdout.isatty() and not until_empty, as_json=as_json, opens=opens)
    code = run(settings, Plan("up", make_app, on_ready=played, fires=fires))
    if played.error is not None:
        raise played.error
    return code or played.code


class _Played:
    """The demo's own steps, in the thread that runs when the process is ready; what came of them is kept."""

    def __init__(self, symbols: list[str], *, stays: bool, as_json: bool, opens: bool) -> None:
        self.code: int = Exit.OK
        self.error: Exception | None = None
        self._symbols = symbols
        self._stays = stays
        self._as_json = as_json
        self._opens = opens

    def __call__(self, process: Process) -> None:
        try:
            self.code = self._play(process)
        except Exception as error:  # noqa: BLE001  told by the main thread, when everything is shut down
            if not process.draining:  # Ctrl-C in the middle of it is no error
                self.error = error
        if self.error is not None or not self._stays:
            process.shutdown("the demo is over")
        else:
            talk("jobrunner goes on; Ctrl-C ends it.")
            if self._opens:  # only now: there is something to see, and it will be there
                open_page(process)

    def _play(self, process: Process) -> int:
        from jobrunner.client.choose import open_desk

        def opener() -> Any:
            return open_desk(process.settings, process.url)

        with opener() as desk:
            told = desk.submit("data_import", {"symbols": self._symbols, "data_source": SOURCE}, {})
        talk(f"Task {told['task_id']} (data_import) is in the queue")
        (task,) = await_tasks(opener, [told["task_id"]], lines=True)
        bars = _stored(process, self._symbols)
        curl = _curl(process, told["task_id"])
        if self._as_json:
            document({"sample": True, "url": process.url, "curl": curl, "task": task, "bars": bars})
            return exit_for([task])
        if task["status"] != "completed":
            tell_result(task)
            return exit_for([task])
        talk("Bars in the database, per symbol (SAMPLE DATA):")
        table(_BARS, ([one[name] for name in _BARS] for one in bars))
        facts([("page", process.url), ("status", curl)])
        return Exit.OK


def _stored(process: Process, symbols: list[str]) -> list[dict[str, Any]]:
    from jobrunner.data_import.report import stored_bars

    with process.database.read() as conn:
        found = stored_bars(conn, symbols, source=SOURCE)
    return [
        {**vars(one), "data": "generated sample", "first": one.first.isoformat(), "last": one.last.isoformat()}
        for one in found
    ]


def _curl(process: Process, task_id: str) -> str:
    key = ' -H "X-API-Key: $JOBRUNNER_API_KEY"' if process.settings.api_key else ""
    return f"curl{key} {process.url}/api/v1/task/{task_id}/status"


def _port(loaded: Loaded) -> int | None:
    """The port that was asked for; where none was, the usual one, or any free one while that is taken."""
    from jobrunner.settings import DEFAULT_PORT

    if loaded.settings.port is not None:
        return loaded.settings.port
    try:
        socket.create_server((loaded.settings.host, DEFAULT_PORT)).close()
    except OSError:
        return 0
    return DEFAULT_PORT
