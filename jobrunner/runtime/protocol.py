"""HTTP/1.1 as httptools reads it: a request costs the server a quarter less than with h11, uvicorn's other reader."""

from __future__ import annotations

import math
import sys
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX = 64 * 1024  # bytes, as h11 has it


class Protocol(HttpToolsProtocol):
    """httptools with three of its gaps closed.

    It keeps a head of any length, and trailers: a caller without a key could fill the memory. So bytes are counted
    since the last piece of a body or end of a request, and more than ``HEAD_MAX`` end the connection with 400. And it
    drops the body of a request that wishes for another protocol, as Java's client does of HTTP/2 by default: such a
    connection is handed to h11, which passes over the wish. And it takes connections until there are no files left for
    anything else: then asyncio tried 2,048 times a second to take one more, each time with a traceback in the log.
    """

    _since = 0
    _data = b""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > _connections_most():
            transport.abort()

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

    def _should_upgrade(self) -> bool:
        return True  # asked where a request wishes for it: no cycle of its own begins then

    def handle_websocket_upgrade(self) -> None:
        """Called, whatever the wish is, while the parser's error tells where the head ended."""
        error = sys.exception()
        assert error is not None
        self.ws_protocol_class = H11Protocol  # the next one on this connection
        super().handle_websocket_upgrade()
        if rest := self._data[error.args[0] :]:
            self.transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]  # just set above


def _connections_most() -> float:
    """Half of the files that this process may open: the rest is for the database, children and files."""
    if sys.platform == "win32":
        return math.inf
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if allowed == resource.RLIM_INFINITY else allowed // 2
