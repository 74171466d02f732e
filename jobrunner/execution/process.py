"""One child process as the worker sees it: started, spoken to, listened to, and ended with all that it started."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Protocol

from jobrunner.execution import posix
from jobrunner.execution.output import Output
from jobrunner.execution.sweep import MARK, kill_descendants, sweep
from jobrunner.execution.wire import Message, Unpacker, WireError, pack
from jobrunner.forks import keep_from_forks

START_TIMEOUT = 60.0  # seconds for the imports of a new child
EXIT_TIMEOUT = 0.5  # seconds from the end of its line to the end of the process
LEAVE_TIMEOUT = 5.0  # seconds for an idle child to leave when its work is done
SECRETS = ("JOBRUNNER_DATABASE_URL", "DATABASE_URL", "JOBRUNNER_API_KEY", "NODE_API_KEY")
_CHUNK = 65_536  # bytes: room for more than 128 KiB would be mapped and unmapped for each message

# Threads of their own: while the database is away, the loop's may all be waiting for it.
_sweeps = ThreadPoolExecutor(2, thread_name_prefix="sweep")


class SpawnFailed(Exception):
    """No child process could be had."""


@dataclass(frozen=True)
class Program:
    """What every child of a pool is started with. ``environ`` None is the worker's own without SECRETS."""

    modules: Sequence[str]
    log_level: str = "INFO"
    environ: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Exit:
    """How a process ended: its code (a signal is negative), its peak memory in bytes, its last words on stderr.

    ``fault`` says why we ended it ourselves, where nobody had asked for it.
    """

    code: int
    peak_rss: int
    stderr: str
    fault: str | None = None

    def __str__(self) -> str:
        return f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"


class Listener(Protocol):
    """Whom a child works for."""

    def message(self, message: Message) -> None:
        """The child said something."""

    def line(self, stream: str, text: str) -> None:
        """It wrote a line to stdout or stderr."""

    def dropped(self, lines: int) -> None:
        """It wrote lines that nobody read, since ``full`` said so."""

    def full(self) -> bool:
        """Whether no more lines are wanted."""

    def ended(self, how: Exit) -> None:
        """It is gone, and everything that it started."""


class Child:
    """A warm process, and whoever it works for at the moment."""

    def __init__(self, program: Program, mark: str) -> None:
        self._program = program
        self._mark = mark
        self._loop = asyncio.get_running_loop()
        self._unpacker = Unpacker()
        self._unsent = bytearray()
        self._broken = False
        self._fault: str | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self.gone: asyncio.Future[Exit] = self._loop.create_future()
        self.listener: Listener | None = None
        self.tasks = 0
        self.peak_rss = 0  # the most memory that it is known to have had before the attempt that it runs
        self.first_rss = 0  # the same after its first tasks
        self.left_threads = 0  # that tasks left in it, as seen before the attempt that it runs
        self.left_told = ""  # which, and of whom
        self.condemned = False  # it was told to end, or may not be used again

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too."""
        return self._process.pid

    async def start(self) -> None:
        """Start the process and wait until it has its handlers; raises SpawnFailed with the reason."""
        if os.name != "posix":
            raise SpawnFailed("child processes need POSIX: on this system use async handlers or isolation='inline'")
        try:
            self._launch()
        except OSError as error:
            raise SpawnFailed(f"no child process can be started: {error}") from error
        self.send({"op": "hello", "path": sys.path, "modules": self._program.modules, "level": self._program.log_level})
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), START_TIMEOUT)
        except TimeoutError:
            self._ready.cancel()
            await self.kill()
            raise SpawnFailed(f"a child process was not ready within {START_TIMEOUT:g} s") from None
        except asyncio.CancelledError:
            self._ready.cancel()
            await self.kill()
            raise

    def send(self, message: Message) -> None:
        """Say something to the child; what it cannot take at once is sent when it can."""
        if self._broken:
            return
        data = pack(message)
        if not self._unsent:
            try:
                data = data[self._line.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                self._disconnect()
                return
            if not data:
                return
            self._loop.add_writer(self._line, self._writable)
        self._unsent += data

    def terminate(self) -> None:
        """TERM to its process group."""
        self.condemned = True
        self._signal(kill=False)

    async def kill(self) -> None:
        """End it, with its process group and whatever else it started, and wait until it is gone."""
        self.condemned = True
        if self._process.returncode is None:
            with suppress(RuntimeError):  # at the end of a program that closed nothing: the warden does the rest
                await self._loop.run_in_executor(_sweeps, kill_descendants, self.pid)  # while they are known as such
        self._signal(kill=True)
        await asyncio.shield(self.gone)

    async def leave(self) -> None:
        """Let an idle child end by itself, and see to it."""
        self.condemned = True
        self._disconnect()
        try:
            await asyncio.wait_for(asyncio.shield(self.gone), LEAVE_TIMEOUT)
        except TimeoutError:
            await self.kill()

    def begin(self, listener: Listener, message: Message) -> None:
        """Work for ``listener`` from now on, beginning with this message."""
        for output in self._outputs:
            output.tail.clear()
        self.tasks += 1
        self.listener = listener
        self.send(message)

    def drain(self) -> None:
        """Hand on everything that it wrote until now."""
        if self._pipes.poll(0) or any(output.begun for output in self._outputs):
            for output in self._outputs:
                output.drain()

    def _launch(self) -> None:
        environ = dict(os.environ) if self._program.environ is None else dict(self._program.environ)
        for name in SECRETS if self._program.environ is None else ():
            environ.pop(name, None)
        with ExitStack() as undo:
            self._line, theirs = socket.socketpair()
            keep_from_forks(self._line)  # a child leaves when its line is closed
            with theirs:
                undo.callback(self._line.close)
                self._process = process = subprocess.Popen(  # noqa: S603  our own program
                    [sys.executable, "-m", "jobrunner.execution.child", str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env={**environ, MARK: self._mark},
                )
            undo.callback(_end, process)
            posix.watch_exit(process, self._exited)
            undo.pop_all()
        self._line.setblocking(False)
        self._loop.add_reader(self._line, self._readable)
        self._outputs = [
            Output(pipe.fileno(), take, self._dropped, self._full)
            for pipe, take in ((process.stdout, self._stdout), (process.stderr, self._stderr))
            if pipe is not None
        ]
        self._pipes = select.poll()  # one question for both: most attempts write nothing
        for output in self._outputs:
            self._pipes.register(output.pipe, select.POLLIN)

    def _readable(self) -> None:
        while not self._broken:
            try:
                data = self._line.recv(_CHUNK)
                messages = self._unpacker.feed(data)
            except BlockingIOError:
                return
            except OSError:
                data, messages = b"", []
            except WireError as error:
                self._give_up(f"what it wrote to the worker is no message: {error}")
                return
            if not data:
                self._give_up("it closed its line to the worker")
                return
            for message in messages:
                self._take(message)
            if len(data) < _CHUNK:
                return

    def _give_up(self, fault: str) -> None:
        self._disconnect()
        if not self.condemned:
            self.condemned = True
            self._loop.call_later(EXIT_TIMEOUT, self._end_speechless, fault)

    def _end_speechless(self, fault: str) -> None:
        if self._process.returncode is None:  # else it hung up because it died
            self._fault = fault
            self._signal(kill=True)

    def _take(self, message: Message) -> None:
        if self.listener is not None:
            self.listener.message(message)
        elif message["op"] == "ready" and not self._ready.done():
            self._ready.set_result(None)

    def _writable(self) -> None:
        try:
            sent = self._line.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._disconnect()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._line)

    def _disconnect(self) -> None:
        if not self._broken:
            self._broken = True
            self._loop.remove_reader(self._line)
            self._loop.remove_writer(self._line)
            self._line.close()

    def _signal(self, *, kill: bool) -> None:
        if self._process.returncode is None:  # once it is reaped, another process may get its number
            posix.signal_group(self.pid, kill=kill)

    def _stdout(self, text: str) -> None:
        if self.listener is not None:
            self.listener.line("stdout", text)

    def _stderr(self, text: str) -> None:
        if self.listener is not None:
            self.listener.line("stderr", text)

    def _dropped(self, lines: int) -> None:
        if self.listener is not None:
            self.listener.dropped(lines)

    def _full(self) -> bool:
        return self._ready.done() if self.listener is None else self.listener.full()

    def _exited(self) -> None:
        self.condemned = True
        self._readable()  # its last words may still be on the line
        self._signal(kill=True)
        code, peak_rss = posix.reap(self._process)
        self._burial = self._loop.create_task(self._bury(code, peak_rss))

    async def _bury(self, code: int, peak_rss: int) -> None:
        with suppress(RuntimeError):  # as in ``kill``
            await self._loop.run_in_executor(_sweeps, sweep, self._mark)
        self._disconnect()
        self.drain()
        for output in self._outputs:
            output.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        how = Exit(code, peak_rss, "\n".join(self._outputs[1].tail), self._fault)
        if not self._ready.done():
            last = how.stderr.strip().splitlines()[-1:]
            self._ready.set_exception(SpawnFailed(": ".join([f"a child process ended at its start by {how}", *last])))
        self.gone.set_result(how)
        if self.listener is not None:
            self.listener.ended(how)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started but cannot be watched."""
    with process:  # closes its pipes, and reaps it
        process.kill()
