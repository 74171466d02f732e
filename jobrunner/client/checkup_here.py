"""What the doctor looks at on this machine: the data folder, the settings, the port and the door."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2

from jobrunner.client.checkup import Finding, fail, ok, warn
from jobrunner.client.checkup_settings import about
from jobrunner.db.lock import owner
from jobrunner.errors import SettingsError
from jobrunner.settings import DEFAULT_PORT, Loaded, Settings, check_door
from jobrunner.settings.loopback import family_of, leads_here

PROBE_WITHIN = 3.0  # seconds


def here(loaded: Loaded) -> Iterator[Finding]:
    """Everything that needs neither database nor server."""
    settings = loaded.settings
    yield from about(loaded)
    yield _port(settings)


def own_url(settings: Settings) -> str:
    """Where a jobrunner with these settings answers on this machine."""
    host = settings.host if settings.host not in ("0.0.0.0", "::", "") else "127.0.0.1"  # noqa: S104 - asked, not bound
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.ssl_certfile else 'http'}://{shown}:{settings.port or DEFAULT_PORT}"


def served_url(settings: Settings) -> str:
    """Where the server on these settings' database answers: the owner of a SQLite file says so, wherever it was put."""
    held = None
    if settings.is_sqlite:
        with suppress(SettingsError):  # of a lock that is not this user's: its URL is then the settings' own
            held = owner(settings.url.removeprefix("sqlite:///"))
    return str((held or {}).get("url") or own_url(settings))


def probe(url: str, path: str, *, trusted: bool = False) -> httpx2.Response:
    """Ask an open path of a server; raises httpx2.TransportError where nobody answers, or one that is to be ``trusted``
    is not.

    Nothing secret is sent, and a certificate is made for other names than this machine's loopback: there it is not
    looked at. The loopback is asked itself, not by way of the environment's proxy.
    """
    verify = ssl.create_default_context() if trusted else False
    return httpx2.get(f"{url}{path}", timeout=PROBE_WITHIN, verify=verify, trust_env=not leads_here(url))


def said(answer: httpx2.Response) -> dict[str, Any] | None:
    """What a jobrunner says of itself when it is probed; None where something else answers."""
    try:
        told = answer.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) and told.get("status") in ("ok", "ready", "not ready") else None


def door(settings: Settings, *, has_key: bool, opens: bool) -> Finding:
    """Whether the port may open; ``has_key`` tells that the database knows a key, ``opens`` that one has not ended."""
    try:
        check_door(settings, has_key=has_key)
    except SettingsError as error:
        told, _, mend = str(error).partition(". Mend it with one of: ")
        return fail("door", told, mend)
    if settings.api_key is not None:
        return ok("door", "the configured key opens it" + (", and those of: jobrunner keys list" if opens else ""))
    if opens:
        return ok("door", "keys open it: jobrunner keys list")
    if settings.allow_from:
        return ok("door", f"open to {', '.join(map(str, settings.allow_from))}")
    if has_key:
        return warn("door", "all keys have ended, so it opens to nobody", "jobrunner keys create NAME --scope admin")
    return ok("door", f"open to this machine alone, on {settings.host}")


def _port(settings: Settings) -> Finding:
    port = settings.port or DEFAULT_PORT
    try:
        socket.create_server((settings.host, port), family=family_of(settings.host)).close()
    except OSError as taken:
        return _taken(settings, port, taken)
    return ok("port", f"{settings.host}:{port} is free")


def _taken(settings: Settings, port: int, taken: OSError) -> Finding:
    url = own_url(settings)
    try:
        answer = probe(url, "/healthz")
    except httpx2.HTTPError:
        answer = None
    if answer is not None and said(answer) is not None:
        return ok("port", f"a jobrunner answers at {url}")
    return fail(
        "port",
        f"{settings.host}:{port}: {taken.strerror or taken}, and what is there is no jobrunner",
        "choose another with JOBRUNNER_PORT or --port",
    )
