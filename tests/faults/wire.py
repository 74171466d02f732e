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


class Wire:
    """Listens on 127.0.0.1 and carries bytes to ``target``; used as a context manager.

    ``silence()`` carries nothing more on links that exist, and answers none that come; ``cut()`` ends all links;
    ``heal()`` lets new links through, while those that were silenced stay dead. ``changes`` gets all that the server
    says, and returns what the client hears.
    """

    def __init__(self, database_url: str, changes: Callable[[bytes], bytes] = lambda said: said) -> None:
        self._changes = changes
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

    def silence(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        with self._changing:
            self._silent.set()
            self._dead |= {end for link in self._links for end in link}

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
                        if end is near:
                            far.sendall(data)
                        else:
                            near.sendall(self._changes(data))
                except OSError:
                    return

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._closed.set()
        self._listener.close()
        self.cut()
