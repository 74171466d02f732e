"""Serving an ASGI application in a thread of its own, with its own loop."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from jobrunner.errors import SettingsError
from jobrunner.forks import keep_from_forks
from jobrunner.runtime.protocol import Protocol
from jobrunner.settings import Settings
from jobrunner.settings.loopback import family_of

STOP_WITHIN = 5  # seconds for open requests at the end
ASKED_EACH = 0.05  # seconds: whoever is connected while it stops, to finish and go
GOODBYE_SECONDS = 1.0  # for a TLS client to say so too: one that keeps its line for later does not hear of the end
UNREAD_SECONDS = 30.0  # for a client to take in what was sent
WAITING = 2048  # connections that the system keeps until they are taken
AT_ONCE = 4  # taken before the first of them is looked at: as many as may wait would be all the files there are


class _Uvicorn(uvicorn.Server):
    """Two of uvicorn's gaps closed: how many may wait, and who is connected while it stops."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or []:  # for asyncio both are one number, and it tells the system of it when it begins
            one.listen(WAITING)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # It asks once. Who was taken in at that moment heard nothing: 22 of 30 stops under new connections took 5 s.
        asking = asyncio.create_task(self._ask_to_go())
        try:
            await super().shutdown(sockets)
        finally:
            asking.cancel()
            for one in list(self.server_state.connections):
                one.transport.abort()
            await asyncio.sleep(0)  # for them to be closed before the loop is

    async def _ask_to_go(self) -> None:
        going: dict[object, float] = {}
        while True:
            moment = time.monotonic()
            for one in list(self.server_state.connections):
                if not one.transport.is_closing():
                    one.shutdown()
                elif self.config.is_ssl and moment - going.setdefault(one, moment) > GOODBYE_SECONDS:
                    one.transport.abort()  # with an idle client each stop took five seconds
            await asyncio.sleep(ASKED_EACH)


class Server:
    """uvicorn without its signals: whoever owns the process ends it. The port is taken at once, or refused clearly."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._settings = settings
        self._secure = bool(settings.ssl_certfile)
        family = family_of(settings.host)
        try:
            self._socket = socket.create_server((settings.host, port), family=family, backlog=WAITING)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.host}:{port}: {error.strerror or error}; choose another port with --port"
            ) from error
        keep_from_forks(self._socket)
        # Accepted sockets inherit it. Without, a second small answer waited 40 ms for the client's delayed ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a client that reads nothing is cut, whatever stands in its way
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_SECONDS * 1_000))
        self.port: int = self._socket.getsockname()[1]
        self._server: _Uvicorn | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        host = "127.0.0.1" if self._settings.host in ("0.0.0.0", "::") else self._settings.host  # noqa: S104 - compared
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._secure else 'http'}://{shown}:{self.port}"

    def start(self, app: Any, ended: Callable[[], None]) -> None:
        """Serve; ``ended`` hears, in the server's thread, when it stopped."""
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # who calls is told by the connection: a header could name anybody
            server_header=False,
            root_path=self._settings.root_path,
            lifespan="off",
            timeout_graceful_shutdown=STOP_WITHIN,
            backlog=AT_ONCE,
            ssl_keyfile=self._settings.ssl_keyfile,
            ssl_certfile=self._settings.ssl_certfile,
        )
        self._server = server = _Uvicorn(config)

        def serve() -> None:
            try:
                server.run(sockets=[self._socket])
            finally:
                ended()

        self._thread = threading.Thread(target=serve, name="api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish open requests, within five seconds, and stop. A second call does nothing."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=STOP_WITHIN + 2)
            self._server = None
        self._socket.close()
