"""Real nodes for the bridge's tests, and a ledger of what their handlers did: every effect is a line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobrunner.client.bridge import DistributedBridge
from jobrunner.settings import Settings
from tests.processes import Process, Processes, free_port

ROOT = Path(__file__).parents[2]
CHORES = """
import asyncio
from jobrunner.handlers import task


@task("mark")
async def mark(ledger: str, name: str, seconds: float = 0.0) -> dict[str, str]:
    with open(ledger, "a") as lines:
        lines.write(f"begin {name}\\n")
    await asyncio.sleep(seconds)
    with open(ledger, "a") as lines:
        lines.write(f"end {name}\\n")
    return {"name": name}


@task("fall", max_attempts=1)
async def fall() -> None:
    raise ValueError("fell")
"""


class World:
    """Starts nodes in ``home``, each on a SQLite file of its own unless told which database is theirs."""

    def __init__(self, processes: Processes, home: Path, template: str) -> None:
        self.home = home
        self.ledger = home / "ledger"
        self._processes = processes
        self._template = Path(template.removeprefix("sqlite:///"))
        (home / "chores.py").write_text(CHORES)

    def node(self, name: str, *args: str, url: str | None = None, role: str = "worker", **env: str) -> Process:
        """A node that is ready."""
        port = free_port()
        process = self._processes.start(role, "--port", str(port), *args, env=self.env(name, url, **env), port=port)
        process.wait_for_line(r'"event": "ready"')
        return process

    def env(self, name: str, url: str | None = None, **more: str) -> dict[str, str]:
        """The environment of a process called ``name``."""
        if url is None:
            folder = self.home / name
            folder.mkdir(exist_ok=True)
            file = folder / "jobrunner.db"
            if not file.exists():
                file.write_bytes(self._template.read_bytes())
            url = f"sqlite:///{file}"
        return {
            "PYTHONPATH": f"{ROOT}:{self.home}",
            "JOBRUNNER_DATABASE_URL": url,
            "JOBRUNNER_DATA_DIR": str(self.home / name),
            "JOBRUNNER_NODE_NAME": name,
            "JOBRUNNER_HANDLERS": "chores",
            "JOBRUNNER_LOG_FORMAT": "json",
        } | more

    def bridge(self, *nodes: Process, **settings: Any) -> DistributedBridge:
        """A bridge that knows these nodes as ``node_001`` and so on, and would run at home in ``home``."""
        found = DistributedBridge(Settings(**{"data_dir": self.home / "own"} | settings))
        for number, node in enumerate(nodes, 1):
            assert node.port is not None
            found.add_node(f"node_{number:03}", "localhost", node.port)
        return found

    @staticmethod
    def settings() -> Settings:
        """Of a bridge that has nothing to run at home."""
        return Settings(data_dir=Path("/nowhere"))

    def mark(self, name: str, seconds: float = 0.0) -> dict[str, Any]:
        """The data of a task that leaves its name in the ledger."""
        return {"ledger": str(self.ledger), "name": name, "seconds": seconds}

    def lines(self, name: str, word: str = "end") -> int:
        """How often a handler began or ended this."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return text.splitlines().count(f"{word} {name}")

    def wait_for(self, name: str, word: str = "begin", within: float = 10.0) -> None:
        """Wait until a handler has begun, or ended, this."""
        wait_until(lambda: self.lines(name, word) > 0, within)


def wait_until(true: Callable[[], bool], within: float = 10.0) -> None:
    """Wait for it, or raise TimeoutError."""
    until = time.monotonic() + within
    while not true():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.02)
