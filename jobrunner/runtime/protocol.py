"""HTTP/1.1 as httptools reads it: a request costs the server a quarter less than with h11, uvicorn's other reader."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jobrunner.forks import keep_from_forks

HEAD_MAX = 64 * 1024  # bytes, as h11 has it
HEAD_SECONDS = 10.0  # for the head of a request to arrive, from its first byte or the connection's beginning
BODY_SECONDS = 25.0  # for the rest of it: the application answers 408 after 20, and whoever goes on then is cut
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Patience:
    """Ends a connection whose client lets it wait too long: uvicorn itself would wait for ever."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def until(self, seconds: float, answer: bytes = b"") -> None:
        """From now on, so long; a wait that began before is over."""
        self.over()
        self._timer = self._loop.call_later(seconds, self._cut, answer)

    def over(self) -> None:
        """What was waited for has come, or the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)
            self._transport.close()


class Plain(H11Protocol):
    """h11, for what httptools does not do, with the same patience."""

    def fileno(self) -> int:
        """The connection's, -1 once it is closed."""
        return _number(self)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        keep_from_forks(self)
        self._patience = Patience(transport)
        self._waits_for: Any = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        head_began = state is h11.IDLE and self.conn.trailing_data[0]
        waits_for = state if head_began or state is h11.SEND_BODY else None
        if waits_for is self._waits_for:
            return
        self._waits_for = waits_for
        if waits_for is h11.IDLE:
            self._patience.until(HEAD_SECONDS, TOO_SLOW)
        elif waits_for is h11.SEND_BODY:
            self._patience.until(BODY_SECONDS)
        else:
            self._patience.over()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.over()
        super().connection_lost(exc)


class Protocol(HttpToolsProtocol):
    """httptools with four of its gaps closed.

    It keeps a head of any length, and trailers: a caller without a key could fill the memory. So bytes are counted
    since the last piece of a body or end of a request, and more than ``HEAD_MAX`` end the connection with 400. And it
    drops the body of a request that wishes for another protocol, as Java's client does of HTTP/2 by default: such a
    connection is handed to h11, which passes over the wish. And it takes connections until there are no files left for
    anything else: then asyncio tried 2,048 times a second to take one more, each time with a traceback in the log. And
    it waits without end for a head or a body that comes in drops, or not at all.
    """

    _since = 0
    _data = b""

    def fileno(self) -> int:
        """The connection's, -1 once it is closed."""
        return _number(self)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        keep_from_forks(self)  # which would keep the client waiting for more
        self._patience = Patience(transport)
        self._patience.until(HEAD_SECONDS)
        if len(self.connections) > _connections_most():
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.over()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._patience.until(HEAD_SECONDS, TOO_SLOW)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._patience.until(BODY_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._since += len(data)
        self._data = data
        super().data_received(data)
        self._data = b""
        if self._since > HEAD_MAX and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def on_body(self, body: bytes) -> None:
        self._since = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._since = 0
        super().on_message_complete()
        self._patience.over()

    def _should_upgrade(self) -> bool:
        return True  # asked where a request wishes for it: no cycle of its own begins then

    def handle_websocket_upgrade(self) -> None:
        """Called, whatever the wish is, while the parser's error tells where the head ended."""
        error = sys.exception()
        assert error is not None
        self._patience.over()
        self.ws_protocol_class = Plain  # the next one on this connection
        super().handle_websocket_upgrade()
        if rest := self._data[error.args[0] :]:
            self.transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]  # just set above


def _number(one: HttpToolsProtocol | H11Protocol) -> int:
    # Asked first whether it is one: other loops than asyncio's tell the number even when it is somebody else's by now.
    return int(one.transport.get_extra_info("socket").fileno()) if one in one.connections else -1


def _connections_most() -> float:
    """Half of the files that this process may open: the rest is for the database, children and files."""
    if sys.platform == "win32":
        return math.inf
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if allowed == resource.RLIM_INFINITY else allowed // 2
