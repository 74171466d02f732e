"""Who may come in: keys, sessions, networks and loopback. Asked by every route, about its own declared scope."""

from __future__ import annotations

import hmac
import math

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from jobrunner.api import callers, sessions
from jobrunner.api.callers import Caller, Way
from jobrunner.api.hosts import check_host, client_of, from_this_site, is_json
from jobrunner.api.keyring import Keyring
from jobrunner.api.problems import Refused
from jobrunner.queue import key
from jobrunner.queue.key import Scope
from jobrunner.queue.views import KeyView
from jobrunner.settings import Settings
from jobrunner.settings.loopback import is_loopback

Known = tuple[Caller, KeyView | None]  # who asks, and the key that it has from the database
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ASK_FOR_KEY = {"WWW-Authenticate": 'Bearer realm="jobrunner"'}


async def admit(request: Request, settings: Settings, wanted: Scope, *, every_queue: bool = False) -> Caller:
    """Who asks, if that caller has the scope ``wanted``; raises Refused with 401, 403, 415, 421 or 429.

    Raises DatabaseUnavailable where the keys were never read.

    ``every_queue`` is what tells of all queues, or changes them: a key of named queues is refused.
    """
    if wanted is Scope.OPEN:
        return callers.ANYBODY
    caller = await _present(request, settings)
    if wanted not in caller.scopes:
        raise Refused(403, "forbidden", f"this needs the scope '{wanted}', which {caller.who} does not have")
    if every_queue and caller.queues is not None:
        raise Refused(403, "forbidden", f"this concerns all queues, and {caller.who} is of some only")
    if caller.way is not Way.HEADER and request.method not in _READING:
        _refuse_foreign_pages(request, caller)
    return caller


async def still_admits(request: Request, settings: Settings, caller: Caller) -> bool:
    """Whether who was let in as ``caller`` would be so now: the key is still usable, the session has not ended."""
    try:
        found, _ = await _known(request, settings)
    except Refused:
        return False
    return found == caller


async def _present(request: Request, settings: Settings) -> Caller:
    caller, owner = await _known(request, settings)
    if owner is not None:
        charge(request.app.state.keyring, owner)
    return caller


async def _known(request: Request, settings: Settings) -> Known:
    given = _given(request)
    if given and is_configured(given, settings):
        return callers.of_owner(None, Way.HEADER), None
    ring: Keyring = request.app.state.keyring
    if not ring.fresh:
        await run_in_threadpool(ring.look)
    return _by_key(given, ring) if given else _without_key(request, settings, ring)


def charge(ring: Keyring, owner: KeyView) -> None:
    """Count one request of this key, or of a session that it began; raises Refused with 429 beyond its rate."""
    ring.used(owner)
    wait = ring.wait(owner)
    if wait:
        told = f"key {owner.id} may ask {owner.rate:g} times a second"
        raise Refused(429, "too_many_requests", told, {"Retry-After": str(math.ceil(wait))})


def is_configured(given: str, settings: Settings) -> bool:
    """Whether ``given`` is the configured key, in constant time."""
    if settings.api_key is None:
        return False
    return hmac.compare_digest(key.digest(given), key.digest(settings.api_key.get_secret_value()))


def is_closed(settings: Settings, ring: Keyring) -> bool:
    """Whether nobody comes in without a key, but from a network that ``allow_from`` names."""
    return settings.api_key is not None or ring.closed


def _given(request: Request) -> str:
    given = request.headers.get("x-api-key", "")
    if given:
        return given
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def _by_key(given: str, ring: Keyring) -> Known:
    owner = ring.find(given)
    if owner is None:
        raise Refused(401, "wrong_key", "this key is not known here, or it has ended", _ASK_FOR_KEY)
    return callers.of_owner(owner, Way.HEADER), owner


def _without_key(request: Request, settings: Settings, ring: Keyring) -> Known:
    in_browser = sessions.owner_of(request, settings, ring)
    if in_browser is not None:
        found = ring.by_id(in_browser)
        owner = found[1] if found else None
        return callers.of_owner(owner, Way.COOKIE), owner
    client = client_of(request)
    if client is not None and any(client in network for network in settings.allow_from):
        check_host(request, settings)
        return callers.of_network(str(client)), None
    if is_closed(settings, ring):
        detail = "a key is needed: send it as X-API-Key or as Authorization: Bearer"
        raise Refused(401, "key_needed", detail, _ASK_FOR_KEY)
    if client is not None and client.is_loopback and is_loopback(settings.host):
        check_host(request, settings)
        return callers.LOOPBACK, None
    raise Refused(403, "forbidden", "this address is not in allow_from, and no key is configured")


def _refuse_foreign_pages(request: Request, caller: Caller) -> None:
    """What a browser sends by itself (an address, a cookie) must not let another site's page write here."""
    if not from_this_site(request):
        raise Refused(403, "cross_origin", "a page of another site may not do this")
    if caller.way is Way.ADDRESS and request.method != "DELETE" and not is_json(request):
        raise Refused(415, "json_needed", "without a key, send Content-Type: application/json")
