"""Sending calls and reading event streams with httpx2, once for plain code and once for a loop; and nothing else.

Both raise Unreachable where the call broke and Refused for an error status.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

import httpx2

from jobrunner.client.answers import OF_SETTINGS, refusal, unreachable
from jobrunner.client.calls import Ask, header
from jobrunner.client.errors import ClientClosed
from jobrunner.settings.loopback import leads_here

SILENCE = 40.0  # seconds after which a stream is dead: the server says something every 15
_BROKEN = (httpx2.TransportError, httpx2.InvalidURL)
_LIMITS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=20)  # each task that is waited for has one
_DIRECTLY = {
    "http://": None,
    "https://": None,
}  # a proxy of the environment has another loopback, and no right to a key

Verify = ssl.SSLContext | bool


class Http(Protocol):
    """One way to send calls to one server."""

    url: str

    async def send(self, ask: Ask, seconds: float) -> httpx2.Response:
        """The answer; ``seconds`` for each step of it: to connect, to send, to hear something."""
        ...

    def stream(self, ask: Ask, last_id: str) -> AsyncGenerator[httpx2.ServerSentEvent | None, None]:
        """None once there is a stream, then its events after ``last_id``, until the server ends it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Rest."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class PlainHttp:
    """Does everything before it returns."""

    def __init__(self, url: str, api_key: str | None, verify: Verify, advice: str = OF_SETTINGS) -> None:
        self.url = full(url)
        self._advice = advice
        with _told(self.url):
            self._http = httpx2.Client(**_options(self.url, api_key, verify))

    async def send(self, ask: Ask, seconds: float) -> httpx2.Response:
        with _told(self.url, self._http):
            response = self._http.request(**_request(ask), timeout=seconds)
        return _checked(response, ask, self._advice)

    async def stream(self, ask: Ask, last_id: str) -> AsyncGenerator[httpx2.ServerSentEvent | None, None]:
        with _told(self.url, self._http), self._http.stream(**_streamed(ask, last_id)) as response:
            if response.is_error:
                response.read()
            if _is_stream(_checked(response, ask, self._advice)):
                yield None
            for event in httpx2.EventSource(response):
                yield event

    async def sleep(self, seconds: float) -> None:
        _sleep(seconds)

    async def close(self) -> None:
        self._http.close()


class AsyncHttp:
    """Waits in the running loop."""

    def __init__(self, url: str, api_key: str | None, verify: Verify, advice: str = OF_SETTINGS) -> None:
        self.url = full(url)
        self._advice = advice
        with _told(self.url):
            self._http = httpx2.AsyncClient(**_options(self.url, api_key, verify))

    async def send(self, ask: Ask, seconds: float) -> httpx2.Response:
        with _told(self.url, self._http):
            response = await self._http.request(**_request(ask), timeout=seconds)
        return _checked(response, ask, self._advice)

    async def stream(self, ask: Ask, last_id: str) -> AsyncGenerator[httpx2.ServerSentEvent | None, None]:
        with _told(self.url, self._http):
            async with self._http.stream(**_streamed(ask, last_id)) as response:
                if response.is_error:
                    await response.aread()
                if _is_stream(_checked(response, ask, self._advice)):
                    yield None
                async for event in httpx2.EventSource(response):
                    yield event

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._http.aclose()


def full(url: str) -> str:
    """A URL with its scheme, and without a slash at its end."""
    url = url.rstrip("/")
    return url if url.startswith(("http://", "https://")) else f"http://{url}"


class _told:
    """What httpx2 raises, as Unreachable. No generator, in which the end of a coroutine would become an error."""

    def __init__(self, url: str, http: httpx2.Client | httpx2.AsyncClient | None = None) -> None:
        self._url = url
        self._http = http

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _BROKEN):
            raise unreachable(self._url, error) from error
        if isinstance(error, RuntimeError) and self._http is not None and self._http.is_closed:
            raise ClientClosed from error


def _options(url: str, api_key: str | None, verify: Verify) -> dict[str, Any]:
    tls = url.startswith("https://")  # else no certificates are read, which took 25 ms of each start
    return {
        "base_url": url,
        "headers": {"X-API-Key": header("api_key", api_key)} if api_key else {},
        "verify": verify if tls else False,
        "limits": _LIMITS,
        "mounts": _DIRECTLY if leads_here(url) else None,
    }


def _request(ask: Ask) -> dict[str, Any]:
    return {
        "method": ask.method,
        "url": ask.path,
        "params": dict(ask.query),
        "content": ask.body,
        "headers": dict(ask.headers),
    }


def _streamed(ask: Ask, last_id: str) -> dict[str, Any]:
    headers: Mapping[str, str] = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
    return _request(ask) | {"headers": headers, "timeout": httpx2.Timeout(SILENCE, connect=10.0)}


def _checked(response: httpx2.Response, ask: Ask, advice: str) -> httpx2.Response:
    if response.is_error:
        raise refusal(response, ask.task_id, advice)
    return response


def _is_stream(response: httpx2.Response) -> bool:
    return bool(response.headers.get("Content-Type", "").startswith("text/event-stream"))


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
