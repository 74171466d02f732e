"""A wire to PostgreSQL that can be cut, or go silent as a dead link does: open, and nothing comes or goes."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.faults.spoken import Act, Asked, Spoken

ANSWERS_WITHIN = 10.0  # seconds in which the server answers what nobody will hear


class Wire:
    """Listens on 127.0.0.1 and carries bytes to ``target``; used as a context manager.

    ``silence()`` carries nothing more on links that exist, and answers none that come; ``cut()`` ends all links;
    ``heal()`` lets new links through, while those that were silenced stay dead. ``changes`` gets all that the server
    says, and returns what the client hears. ``asked`` gets each statement that a client sends, and says what becomes of
    it and of its link. ``late()`` is asked for the seconds by which each piece is late.
    """

    def __init__(
        self,
        database_url: str,
        changes: Callable[[bytes], bytes] = lambda said: said,
        *,
        asked: Asked = lambda _statement: "pass",
        late: Callable[[], float] | None = None,
    ) -> None:
        self._changes = changes
        self._asked = asked
        self._late = late
        self._target = (urlsplit(database_url).hostname or "127.0.0.1", urlsplit(database_url).port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        user = urlsplit(database_url).netloc.rpartition("@")[0]
        netloc = f"{user}@127.0.0.1:{self.port}" if user else f"127.0.0.1:{self.port}"
        self.url = urlunsplit(urlsplit(database_url)._replace(netloc=netloc))
        self._silent = threading.Event()
        self._closed = threading.Event()
        self._links: list[tuple[socket.socket, socket.socket]] = []
        self._changing = threading.Lock()
        self._dead: set[socket.socket] = set()

    def silence(self) -> int:
        """From now on nothing arrives, and nobody is told; returns how many links died."""
        with self._changing:
            self._silent.set()
            self._dead |= {end for link in self._links for end in link}
            return len(self._links)

    def heal(self) -> None:
        """New links work."""
        self._silent.clear()

    def cut(self) -> int:
        """End every link at once; returns how many."""
        with self._changing:
            links, self._links = self._links, []
        for link in links:
            for end in link:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        return len(links)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target) if not self._silent.is_set() else socket.socket()
            except OSError:  # the server is away: who asks is told so
                near.close()
                continue
            with self._changing:
                self._links.append((near, far))
                if self._silent.is_set():
                    self._dead |= {near, far}
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            self._carry_on(near, far, Spoken())
        with self._changing:
            self._links = [link for link in self._links if link != (near, far)]

    def _carry_on(self, near: socket.socket, far: socket.socket, spoken: Spoken) -> None:
        while not self._closed.is_set():
            if near in self._dead:  # still open: that is what makes it a dead link
                time.sleep(0.05)
                continue
            try:
                readable, _, _ = select.select([near, far], [], [], 0.05)
                for end in readable:
                    data = end.recv(65_536)
                    if not data:
                        return
                    if near in self._dead:
                        break
                    if self._late is not None:
                        time.sleep(self._late())
                    if end is near:
                        if not self._tell(near, far, data, spoken):
                            return
                    else:
                        near.sendall(self._changes(data))
            except OSError:
                return

    def _tell(self, near: socket.socket, far: socket.socket, data: bytes, spoken: Spoken) -> bool:
        """Hand on what the client says; False where the link ends with it."""
        acts: set[Act] = {self._asked(statement) for statement in spoken.statements(data)}
        if "before" in acts:
            return False
        if "silence" in acts:
            self._dead |= {near, far}
            return True
        far.sendall(data)
        if acts <= {"pass"}:
            return True
        if "told" in acts:
            near.shutdown(socket.SHUT_RDWR)
        far.settimeout(ANSWERS_WITHIN)
        far.recv(65_536)  # so that it is carried out: a server may give up what nobody waits for
        if "hush" in acts:
            self._dead |= {near, far}
        return "hush" in acts

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # a close alone leaves its thread in the accept
        self._listener.close()
        self.cut()
