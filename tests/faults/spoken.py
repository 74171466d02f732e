"""What a client says to PostgreSQL, statement by statement: enough of the protocol to act just when one is sent."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Literal

Act = Literal["pass", "before", "told", "answered", "silence", "hush"]
"""What a wire does with a statement.

``before`` ends the link before the server hears it, ``told`` as soon as the server was told, ``answered`` in place of
the server's answer; ``silence`` leaves a dead link before the server hears it, ``hush`` in place of the answer.
"""

Asked = Callable[[str], Act]

CLAIM, RENEW, SETTLE, LISTEN = "looked_at", "held_rows", "outcomes_rows", "LISTEN jobrunner"
"""A word by which each of these is known."""

_STARTUP = 196_608  # protocol 3.0; what comes before it asks for encryption


class Spoken:
    """Reads what one client says, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._unread = b""
        self._started = False
        self._prepared: dict[bytes, str] = {}
        self._transaction: list[str] = []

    def statements(self, said: bytes) -> list[str]:
        """The statements that this asks to be carried out; one that is only prepared is not among them.

        A COMMIT comes with all that it commits.
        """
        self._unread += said
        found: list[str] = []
        while (message := self._next()) is not None:
            kind, body = message
            if kind == b"Q":
                found.append(self._in_its_transaction(body.rstrip(b"\0").decode()))
            elif kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                self._prepared[name] = text.decode()
            elif kind == b"B":
                found.append(self._in_its_transaction(self._prepared.get(body.split(b"\0", 2)[1], "")))
        return found

    def _in_its_transaction(self, statement: str) -> str:
        if statement.startswith("BEGIN"):
            self._transaction = []
        self._transaction.append(statement)
        return "; ".join(["COMMIT", *self._transaction]) if statement == "COMMIT" else statement

    def _next(self) -> tuple[bytes, bytes] | None:
        head = 1 if self._started else 0
        if len(self._unread) < head + 4:
            return None
        (length,) = struct.unpack_from("!I", self._unread, head)
        if len(self._unread) < head + length:
            return None
        kind, body = self._unread[:head], self._unread[head + 4 : head + length]
        self._unread = self._unread[head + length :]
        if not head:
            self._started = struct.unpack_from("!I", body)[0] == _STARTUP
        return kind, body


class Trap:
    """Acts on the first statement that holds all these words once it is set, and on no other.

    ``sprung_at`` is when that was, ``again_at`` when a statement like it was sent after that; monotonic seconds.
    """

    def __init__(self, act: Act, *words: str) -> None:
        self._act = act
        self._words = words
        self._lock = threading.Lock()
        self._is_set = False
        self.sprung_at: float | None = None
        self.again_at: float | None = None

    def set(self) -> None:
        """From now on."""
        with self._lock:
            self._is_set, self.sprung_at, self.again_at = True, None, None

    def __call__(self, statement: str) -> Act:
        if not all(word in statement for word in self._words):
            return "pass"
        with self._lock:
            if self._is_set:
                self._is_set, self.sprung_at = False, time.monotonic()
                return self._act
            if self.sprung_at is not None and self.again_at is None:
                self.again_at = time.monotonic()
        return "pass"
