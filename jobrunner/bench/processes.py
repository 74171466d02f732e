"""The processes of a measurement: jobrunner's own as users start them, and helpers that are spoken to by lines."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from jobrunner.bench import tasks
from jobrunner.bench.errors import BenchFailed
from jobrunner.bench.scratch import Scratch
from jobrunner.settings import Settings
from jobrunner.settings.children import child_environment

START_WITHIN = 60.0  # seconds; a shared machine may be slow
STOP_WITHIN = 40.0
QUIET = 0.02  # CPU seconds in a look that count as idle
LOOK = 0.25  # seconds
STILL = 1.5  # seconds without work: a worker that has been idle for one begins to start children
DROPPED = ("JOBRUNNER_CONFIG", "JOBRUNNER_FAILPOINT", "JOBRUNNER_URL")


class Started:
    """A process that speaks in lines of JSON on its standard output; its log goes to a file."""

    def __init__(self, command: list[str], scratch: Scratch, log: Path) -> None:
        self._told = " ".join(command)
        self._log = log
        with log.open("wb") as errors:
            self._popen = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", *command],
                env=_environment(scratch),
                cwd=scratch.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is ours to answer: the processes end in order, then the scratch
            )
        self.pid = self._popen.pid
        self.ready: Any = None  # what it said when it was ready
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, words: Any) -> None:
        """Send a line of JSON."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps(words).encode() + b"\n")
            self._popen.stdin.flush()
        except OSError:
            raise self.failed("ended early") from None

    def hear(self, within: float = START_WITHIN) -> Any:
        """The next line that it says."""
        try:
            line = self._lines.get(timeout=within)
        except queue.Empty:
            raise self.failed(f"said nothing for {within:g} s") from None
        if not line:
            raise self.failed("ended early")
        return json.loads(line)

    def check(self) -> None:
        """Raise BenchFailed where it ended."""
        if self._popen.poll() is not None:
            raise self.failed("ended early")

    def family(self) -> list[psutil.Process]:
        """It and its children."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            raise self.failed("ended early") from None

    def wait_for_end(self, within: float) -> None:
        """Wait for it to end by itself, with success."""
        try:
            code = self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise self.failed(f"still running after {within:g} s") from None
        if code:
            raise self.failed(f"ended with {code}")

    def stop(self) -> None:
        """Ask it to end, and wait; end it for certain where it does not."""
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def failed(self, why: str) -> BenchFailed:
        """The error to raise, with the end of its log."""
        tail = self._log.read_text(errors="replace").strip()[-2000:]
        return BenchFailed(f"{self._told}: {why}" + (f"\n{tail}" if tail else ""))

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with suppress(ValueError, OSError):  # closed by stop
            for line in self._popen.stdout:
                self._lines.put(line)
        self._lines.put(b"")


class Processes:
    """Starts processes on a scratch database, for blocks at whose end they end."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._count = 0

    @contextmanager
    def jobrunner(self, role: str, *args: str, count: int = 1) -> Iterator[list[Started]]:
        """``count`` processes like ``jobrunner worker``, at their defaults, once they are ready."""
        port = ("--port", "0") if self._scratch.is_sqlite or role != "worker" else ()
        safety = () if role == "api" else ("--idle-timeout", "1h")  # where the bench is killed, nobody ends them
        with self._several(["jobrunner", role, "--json", *port, *safety, *args], count) as started:
            yield started

    @contextmanager
    def helper(self, module: str, count: int = 1, **given: Any) -> Iterator[list[Started]]:
        """``count`` processes of a module of this package, each told ``given`` and where the database is."""
        words = {"database": self._scratch.plain, "url": self._scratch.url, **given}
        with self._several([f"jobrunner.bench.{module}"], count, words) as started:
            yield started

    @contextmanager
    def _several(self, command: list[str], count: int, words: Any = None) -> Iterator[list[Started]]:
        with ExitStack() as running:
            started = []
            for _ in range(count):
                self._count += 1
                process = Started(command, self._scratch, self._scratch.folder / f"process-{self._count}.log")
                running.callback(process.stop)
                started.append(process)
            for process in started:
                if words is not None:
                    process.tell(words)
                process.ready = process.hear()
            yield started


def settle(started: list[Started], within: float = 30.0) -> None:
    """Wait until these processes and their children do nothing, for long enough: they have warmed up."""
    quiet_since = time.monotonic()
    deadline = quiet_since + within
    before = cpu_seconds(started)
    while quiet_since + STILL > time.monotonic() < deadline:
        time.sleep(LOOK)
        now = cpu_seconds(started)
        if now - before > QUIET * len(started):
            quiet_since = time.monotonic()
        before = now


def cpu_seconds(started: list[Started]) -> float:
    """CPU that these processes and their living children took so far."""
    total = 0.0
    for process in started:
        for one in process.family():
            with suppress(psutil.NoSuchProcess):
                used = one.cpu_times()
                total += used.user + used.system
    return total


def wait_until(true: Callable[[], bool], started: list[Started], what: str, within: float) -> None:
    """Wait until something is so; raises BenchFailed where it does not come about or one of them ends."""
    deadline = time.monotonic() + within
    while not true():
        for process in started:
            process.check()
        if time.monotonic() > deadline:
            raise started[0].failed(f"not within {within:g} s: {what}")
        time.sleep(0.1)


def _environment(scratch: Scratch) -> dict[str, str]:
    """The user's environment without what configures jobrunner: what is measured are the defaults."""
    kept = child_environment(Settings(data_dir=scratch.folder / "data"))
    kept = {name: value for name, value in kept.items() if name not in DROPPED}
    return {
        **kept,
        "JOBRUNNER_DATABASE_URL": scratch.url,
        "JOBRUNNER_HANDLERS": tasks.MODULE,
        "JOBRUNNER_LOG_LEVEL": "WARNING",
    }
