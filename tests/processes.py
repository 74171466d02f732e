"""Real jobrunner processes for tests: started clean, watched through files and HTTP, and gone when the test is."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2
import psutil

from tests.forks import Forked, can_become
from tests.postgres.server import free_port

MARK = "TEST_PROCESS_MARK"  # inherited by every descendant, so that one whose parent died is found as well
INHERITED = ("PATH", "HOME", "LANG")
JOBRUNNER = [sys.executable, "-m", "jobrunner"]

__all__ = ["Process", "Processes", "free_port"]


class Process:
    """One ``python -m jobrunner ...`` in a session of its own; standard output and error go to files.

    ``port`` is where it serves, for those who told it one. Waiting methods take seconds, and raise TimeoutError with
    the end of its output.
    """

    def __init__(self, command: list[str], *, env: Mapping[str, str], cwd: Path, files: Path, port: int | None) -> None:
        self.mark = secrets.token_hex(8)
        self.port = port
        self.out = files.with_suffix(".out")
        self.err = files.with_suffix(".err")
        self.command = command
        env = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(env) | {MARK: self.mark}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._popen: Forked | subprocess.Popen[bytes]
            if command[: len(JOBRUNNER)] == JOBRUNNER and can_become(env):
                self._popen = Forked(command[len(JOBRUNNER) :], env=env, cwd=cwd, out=self.out, err=self.err)
            else:
                self._popen = subprocess.Popen(
                    command,
                    env=env,
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def url(self) -> str:
        """Where it serves, without a slash at the end."""
        assert self.port is not None, "started without a port"
        return f"http://127.0.0.1:{self.port}"

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._popen.poll()

    @property
    def output(self) -> str:
        """Its standard output so far."""
        return self.out.read_text(errors="replace")

    @property
    def errors(self) -> str:
        """Its standard error so far: logs and tracebacks."""
        return self.err.read_text(errors="replace")

    def wait_for_line(self, pattern: str, within: float = 20.0) -> re.Match[str]:
        """Wait until a line of its output or errors matches; raises at once when it ended without one."""
        wanted = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + within
        while True:
            ended = self.exit_code is not None  # looked at first: what it wrote last is then in the files
            found = wanted.search(self.output) or wanted.search(self.errors)
            if found:
                return found
            if ended or time.monotonic() > deadline:
                raise TimeoutError(self._told(f"no line like {pattern!r}"))
            time.sleep(0.02)

    def wait_healthy(self, within: float = 20.0) -> None:
        """Wait until ``/healthz`` answers 200."""
        deadline = time.monotonic() + within
        while True:
            try:
                if httpx2.get(f"{self.url}/healthz", timeout=2, verify=False).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            if self.exit_code is not None or time.monotonic() > deadline:
                raise TimeoutError(self._told("/healthz did not answer 200"))
            time.sleep(0.03)

    def wait(self, within: float = 30.0) -> int:
        """Wait for its end; returns the exit code."""
        try:
            return self._popen.wait(within)
        except (subprocess.TimeoutExpired, TimeoutError):
            raise TimeoutError(self._told(f"still running after {within:g} s")) from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone, not to its children."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def stop(self, within: float = 30.0) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def kill(self) -> None:
        """SIGKILL to it alone, and wait: its children have to notice by themselves."""
        self.signal(signal.SIGKILL)
        self.wait()

    def family(self) -> list[psutil.Process]:
        """It and everything it ever started that still runs, whoever the parent is now."""
        own = (
            self.pid if self.exit_code is None else None
        )  # a forked one still shows the environment it was forked with
        return [process for process in psutil.process_iter() if process.pid == own or _marked(process, self.mark)]

    def _told(self, what: str) -> str:
        state = "running" if self.exit_code is None else f"ended with {self.exit_code}"
        return f"{' '.join(self.command[1:])} ({state}): {what}\n{self.tail()}"

    def tail(self, size: int = 4000) -> str:
        """The end of what it wrote, in characters."""
        return f"--- output\n{self.output[-size:]}\n--- errors\n{self.errors[-size:]}"


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:  # gone meanwhile, or somebody else's
        return False


class Processes:
    """Starts processes that work and write in ``home``; ``close`` ends them and looks for leftovers."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._started: list[Process] = []

    def start(self, *args: str, env: Mapping[str, str] | None = None, port: int | None = None) -> Process:
        """Run ``python -m jobrunner`` with ``args`` in an environment of PATH, HOME, LANG and ``env``."""
        return self.start_command([*JOBRUNNER, *args], env=env, port=port)

    def start_command(
        self, command: list[str], *, env: Mapping[str, str] | None = None, port: int | None = None
    ) -> Process:
        """Run any command in the same way, such as an installed console script."""
        files = self.home / f"process-{len(self._started)}"
        process = Process(command, env=env or {}, cwd=self.home, files=files, port=port)
        self._started.append(process)
        return process

    def run(self, *args: str, env: Mapping[str, str] | None = None, within: float = 60.0) -> Process:
        """Run a command that ends by itself, and wait for it."""
        process = self.start(*args, env=env)
        process.wait(within)
        return process

    def close(self, *, grace: float = 15.0, leftover_grace: float = 5.0) -> list[str]:
        """End what still runs; returns a complaint about each that did not obey and each descendant that stayed."""
        complaints = []
        running = [process for process in self._started if process.exit_code is None]
        for process in running:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(grace)
            except TimeoutError as error:
                complaints.append(f"SIGTERM did not end it: {error}")
                process.kill()
        deadline = time.monotonic() + leftover_grace
        for process in self._started:
            while left := process.family():
                if time.monotonic() > deadline:
                    complaints += [f"left behind by {' '.join(process.command[1:])}: {_name(one)}" for one in left]
                    for one in left:
                        one.kill()
                    psutil.wait_procs(left, timeout=5)
                    break
                time.sleep(0.05)
            print(f"=== {' '.join(process.command[1:])} ended with {process.exit_code}\n{process.tail()}")
        return complaints


def _name(process: psutil.Process) -> str:
    try:
        return f"pid {process.pid}: {' '.join(process.cmdline())}"
    except psutil.Error:
        return f"pid {process.pid}"
