"""What surrounds every answer, errors included: the request's id, the security headers, and the last catch."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobrunner.api.problems import unexpected
from jobrunner.logs import get_logger

_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise."""

_RAW = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in HEADERS.items()]

log = get_logger(__name__)


class Frame:
    """Gives each request an id (its own, where it brings a sound one) and each answer its headers.

    An exception that nobody foresaw ends here: the log gets it, the caller gets 500 and the request's id. ``answered``
    hears of each answer: method, route, status, and seconds since the request came.
    """

    def __init__(self, app: ASGIApp, answered: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False
        began = time.perf_counter()

        async def framed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = [*message.get("headers", ())]
                said = {name for name, _ in headers}
                headers += [(name, value) for name, value in _RAW if name not in said]
                headers.append((b"x-request-id", request_id.encode("ascii")))
                message["headers"] = headers
                route = getattr(scope.get("route"), "path", "none")  # the table's: a caller's would be without end
                self._answered(scope["method"], route, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self.app(scope, receive, framed)
        except ClientDisconnect:
            log.debug("client went away", request_id=request_id)
        except Exception as error:
            log.error("request failed", request_id=request_id, method=scope["method"], exc_info=error)
            if not started:
                await unexpected(Request(scope))(scope, receive, framed)
