"""The child's end of the line to the worker. No thread listens: it is looked at when somebody wants to know."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the public getsignal makes an enum of what it finds: 2 to 10 µs
import os
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from jobrunner.errors import HandlerError
from jobrunner.execution.attempt import Stopped
from jobrunner.execution.wire import Message, Unpacker, pack

_CHUNK = 65_536  # bytes: room for more than 128 KiB would be mapped and unmapped for each message
_LOOK_EVERY = 0.1  # seconds: another thread may have read the answer that this one waits for
_WORKER_GONE = 70  # exit code


class Link:
    """Sends and receives, and turns the worker's TERM into Stopped in the main thread. Safe in any thread.

    TERM counts only together with the worker's word on the line: service managers send it to every process of a
    service, and then the worker decides how its tasks end.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._unpacker = Unpacker()
        self._inbox: deque[Message] = deque()
        self._using = threading.Lock()
        self._asking = threading.Lock()
        self._stoppable = False
        self._term_waits = False
        self._stop_asked = False
        self._stop_now = False
        self._asked = 0
        self._attempt = 0  # counts in this process, so that the threads of an ended handler are known for what they are
        self.forked = False
        self._on_term = self._term  # one object, to know it again
        self._own_signals()
        os.register_at_fork(after_in_child=self._on_fork)

    def receive(self) -> Message:
        """Wait for the next message, while no handler runs. Raises EOFError when the worker is gone."""
        with self._using:
            while not self._inbox:
                self._feed(self._line.recv(_CHUNK))
            return self._inbox.popleft()

    def begin(self) -> int:
        """An attempt begins: its number here. From now on TERM means it, also one that came too early."""
        self._own_signals()
        self._attempt += 1
        self._stoppable = True
        self._raise_term()
        return self._attempt

    def end(self) -> None:
        """The handler has ended: TERM means nobody, and what its threads still say goes nowhere."""
        self._stoppable = False
        self._attempt += 1

    def send(self, message: Message, attempt: int | None = None) -> None:
        """Say something to the worker, unless it comes from an attempt that has ended.

        This process ends at once when there is no worker any more.
        """
        if self.forked:
            return
        data = pack(message)
        with self._using:  # as in _use, which costs more
            if attempt is None or attempt == self._attempt:
                try:
                    self._line.sendall(data)
                except OSError:
                    os._exit(_WORKER_GONE)
        if self._stoppable:
            self._raise_term()

    def ask(self, message: Message, attempt: int | None) -> Message:
        """Say something and wait for the answer."""
        if self.forked:
            raise HandlerError("a fork of a handler's process cannot speak to the worker")
        with self._asking:
            self._asked += 1
            self.send(message | {"ask": self._asked}, attempt)
            while True:
                with self._use():
                    self._look()
                    if attempt not in (None, self._attempt):
                        raise HandlerError("the attempt has ended")
                    while self._inbox:
                        answer = self._inbox.popleft()
                        if answer.get("answer") == self._asked:  # others waited for an older one, and gave up
                            return answer
                select.select([self._line], [], [], _LOOK_EVERY)

    def stop_asked(self, attempt: int) -> bool:
        """Whether the worker asked this attempt to end."""
        if self.forked or attempt != self._attempt:
            return True
        if not self._stop_asked and not self._using.locked():
            with self._use():
                if attempt == self._attempt:
                    self._look()
        return self._stop_asked

    @contextmanager
    def _use(self) -> Iterator[None]:
        # Stopped must not cut a message in two: TERM waits until the line is free.
        with self._using:
            yield
        if self._stoppable:
            self._raise_term()

    def _raise_term(self) -> None:
        if self._term_waits:
            self._term_waits = False
            signal.raise_signal(signal.SIGTERM)

    def _own_signals(self) -> None:
        if _signal.getsignal(signal.SIGTERM) is not self._on_term:  # also where a handler took it and kept it
            signal.signal(signal.SIGTERM, self._on_term)
            signal.signal(signal.SIGINT, _nothing)  # Ctrl-C is for the worker

    def _term(self, *_: object) -> None:
        if not self._stoppable or not self._using.acquire(blocking=False):
            self._term_waits = True
            return
        try:
            self._look()
        finally:
            self._using.release()
        if self._stop_now:
            self._stoppable = False
            raise Stopped("ended by the worker")

    def _look(self) -> None:
        try:
            self._feed(self._line.recv(_CHUNK, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return
        except (OSError, EOFError):
            os._exit(_WORKER_GONE)

    def _feed(self, data: bytes) -> None:
        if not data:
            raise EOFError
        for message in self._unpacker.feed(data):
            op = message.get("op")
            if op == "stop":
                self._stop_asked = True
                self._stop_now = self._stop_now or message.get("now", False)
                continue
            if op == "run":  # what was asked before meant the attempt before
                self._stop_asked = self._stop_now = False
            self._inbox.append(message)

    def _on_fork(self) -> None:
        self.forked = True
        self._line.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _nothing(*_: object) -> None:
    """Ignores a signal; unlike SIG_IGN, programs started from here do not inherit it."""
