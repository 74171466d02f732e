"""What a child writes to stdout and stderr, as lines."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

_CHUNK = 65_536
_LONGEST = 16_384  # bytes kept of a line
_CHUNKS = 16  # read at most at once: a writer may never stop
_REST = 0.02  # seconds between two looks at a pipe whose words are dropped: a flood shall not keep the worker busy


class Output:
    """Reads one pipe of a child without ever waiting, and hands on whole lines.

    ``take`` gets each line; ``drop`` how many were passed over while ``full()`` says that no more are wanted.
    """

    def __init__(
        self, pipe: int, take: Callable[[str], None], drop: Callable[[int], None], full: Callable[[], bool]
    ) -> None:
        self.pipe = pipe
        self._take = take
        self._drop = drop
        self._full = full
        self.begun = bytearray()  # a line without its end
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._wasted = 0
        self.tail: deque[str] = deque(maxlen=60)
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._readable)

    def drain(self) -> None:
        """Read what is in the pipe now, and take a last line without an end for whole."""
        self._read_much()
        self._end_line()

    def close(self) -> None:
        """Stop reading; the pipe itself belongs to who opened it."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self.pipe)

    def _readable(self) -> None:
        wasted = self._wasted
        self._read()
        if self._open and self._wasted > wasted:
            self._loop.remove_reader(self.pipe)
            self._loop.call_later(_REST, self._again)

    def _again(self) -> None:
        if self._open:
            self._loop.add_reader(self.pipe, self._readable)
            self._read_much()

    def _read_much(self) -> None:
        for _ in range(_CHUNKS):
            if not self._open or not self._read():
                return

    def _read(self) -> bool:
        try:
            data = os.read(self.pipe, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        if self._full():
            self._drop(data.count(b"\n"))
            self._wasted += len(data)
            self.begun.clear()
            return True
        first, *others = data.split(b"\n")
        self._keep(first)
        for piece in others:
            self._end_line()
            self._keep(piece)
        return True

    def _keep(self, piece: bytes) -> None:
        _, back, latest = piece.rpartition(b"\r")
        if back and latest:  # a progress bar writes over itself: what stood there before is gone
            self.begun.clear()
        piece = latest or piece
        room = _LONGEST - len(self.begun)
        self._wasted += max(0, len(piece) - room)
        self.begun += piece[:room]

    def _end_line(self) -> None:
        if not self.begun:
            return
        line = self.begun.decode(errors="backslashreplace").rstrip("\r")
        self.begun.clear()
        self.tail.append(line)
        self._take(line)
