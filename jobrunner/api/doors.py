"""Who may come in: keys, sessions, networks and loopback. Asked by every route, about its own declared scope."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.requests import Request

from jobrunner.api import sessions
from jobrunner.api.problems import Refused
from jobrunner.settings import Settings

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]@/\\?#:\s]+)(?::\d{1,5})?")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ASK_FOR_KEY = {"WWW-Authenticate": 'Bearer realm="jobrunner"'}


class Scope(StrEnum):
    """What a caller may do; a route declares the one that it needs."""

    OPEN = "open"  # nothing is asked
    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"  # cancel, retry, schedules
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Whom the door let in, and what that caller may do."""

    who: str
    scopes: frozenset[Scope]


ANYBODY = Caller("anybody", frozenset({Scope.OPEN}))
KEY = Caller("key", frozenset(Scope))
SESSION = Caller("session", frozenset(Scope))
LOOPBACK = Caller("loopback", frozenset(Scope))
NETWORK = Caller("network", frozenset({Scope.OPEN, Scope.READ, Scope.SUBMIT}))


def admit(request: Request, settings: Settings, wanted: Scope) -> Caller:
    """Who asks, if that caller has the scope ``wanted``; raises Refused with 401, 403, 415 or 421."""
    if wanted is Scope.OPEN:
        return ANYBODY
    caller = _by_key(request, settings) or _without_key(request, settings)
    if wanted not in caller.scopes:
        raise Refused(403, "forbidden", f"this needs the scope '{wanted}', which callers without a key do not have")
    if caller is not KEY and request.method not in _READING:
        _refuse_foreign_pages(request, caller)
    return caller


def is_key(given: str, settings: Settings) -> bool:
    """Whether ``given`` is the configured key, in constant time."""
    if settings.api_key is None:
        return False
    known = settings.api_key.get_secret_value()
    return hmac.compare_digest(_digest(given), _digest(known))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()  # equal lengths: nothing to measure


def _by_key(request: Request, settings: Settings) -> Caller | None:
    given = request.headers.get("x-api-key", "")
    if not given:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else ""
    if not given:
        return None
    if not is_key(given, settings):
        raise Refused(401, "wrong_key", "this key is not known here", _ASK_FOR_KEY)
    return KEY


def _without_key(request: Request, settings: Settings) -> Caller:
    if settings.api_key is not None and sessions.valid(request, settings):
        return SESSION
    client = _client(request)
    if client is not None and any(client in network for network in settings.allow_from):
        _check_host(request, settings)
        return NETWORK
    if settings.api_key is not None:
        detail = "a key is needed: send it as X-API-Key or as Authorization: Bearer"
        raise Refused(401, "key_needed", detail, _ASK_FOR_KEY)
    if client is not None and client.is_loopback and is_loopback(settings.host):
        _check_host(request, settings)
        return LOOPBACK
    raise Refused(403, "forbidden", "this address is not in allow_from, and no key is configured")


def _client(request: Request) -> IPv4Address | IPv6Address | None:
    """The caller's address; None behind a proxy, whose own address must open no door for whoever stands behind it."""
    if any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip")):
        return None
    return _address(request.client.host) if request.client else None


@lru_cache(maxsize=256)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=256)
def is_loopback(name: str) -> bool:
    """Whether a host name or address stands for this machine alone."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_host(request: Request, settings: Settings) -> None:
    """A page elsewhere can point its own name at this address; then the browser sends that name as Host."""
    found = _HOST.fullmatch(request.headers.get("host", ""))
    name = found[1].lower() if found else ""
    if name and (is_loopback(name) or name in [host.lower() for host in settings.trusted_hosts]):
        return
    if name and settings.allow_from and not settings.trusted_hosts and _cannot_be_foreign(name):
        return
    raise Refused(421, "wrong_host", "the Host of this request is not this server's; trusted_hosts can name it")


def _cannot_be_foreign(name: str) -> bool:
    """An address, or a name without a dot: nobody on the Internet can make a browser send either."""
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name
    return True


def _refuse_foreign_pages(request: Request, caller: Caller) -> None:
    """What a browser sends by itself (an address, a cookie) must not let another site's page write here."""
    if not from_this_site(request):
        raise Refused(403, "cross_origin", "a page of another site may not do this")
    if caller is not SESSION and request.method != "DELETE" and not is_json(request):
        raise Refused(415, "json_needed", "without a key, send Content-Type: application/json")


def from_this_site(request: Request) -> bool:
    """Whether a page of this server, or no page at all, made the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host', '')}"


def is_json(request: Request) -> bool:
    """Whether the request says that its body is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
