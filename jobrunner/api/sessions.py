"""The page's cookie: proof that its bearer once knew a key, without the key in it. Nothing is stored."""

from __future__ import annotations

import hmac
import time

from starlette.requests import Request
from starlette.responses import Response

from jobrunner.api import callers
from jobrunner.api.callers import Caller, Way
from jobrunner.api.keyring import Keyring
from jobrunner.settings import Settings

LASTS = 30 * 86_400  # seconds
CONFIGURED = "-"  # which is no key's id


def _name(request: Request, settings: Settings) -> str:
    # Cookies ignore ports: the nodes of one machine would sign each other's users out.
    plain = f"jobrunner_{settings.port or 'session'}"
    return f"__Host-{plain}" if request.url.scheme == "https" else plain


def _proof(secret: str, owner: str, expiry: str) -> str:
    return hmac.digest(secret.encode(), f"jobrunner session of {owner} until {expiry}".encode(), "sha256").hex()


def _secret(owner: str, settings: Settings, ring: Keyring) -> str | None:
    """What proofs of this key's sessions are made with; None where it opens nothing any more."""
    if owner == CONFIGURED:
        return settings.api_key.get_secret_value() if settings.api_key else None
    known = ring.by_id(owner)
    return known[0] if known else None


def start(response: Response, request: Request, settings: Settings, ring: Keyring, owner: str) -> None:
    """Set the cookie of ``owner``, a key's id or CONFIGURED; when the key ends, so do its sessions."""
    secret = _secret(owner, settings, ring)
    assert secret is not None, "this key was found just now"
    expiry = str(int(time.time()) + LASTS)
    response.set_cookie(
        _name(request, settings),
        f"{expiry}.{owner}.{_proof(secret, owner, expiry)}",
        max_age=LASTS,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def end(response: Response, request: Request, settings: Settings) -> None:
    """Take the cookie away."""
    secure = request.url.scheme == "https"
    response.delete_cookie(_name(request, settings), path="/", secure=secure, httponly=True, samesite="strict")


def caller(request: Request, settings: Settings, ring: Keyring) -> Caller | None:
    """Whose session the request carries; None where it has none, it has expired, or its key opens nothing any more."""
    expiry, _, rest = request.cookies.get(_name(request, settings), "").partition(".")
    owner, _, proof = rest.partition(".")
    if not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12:
        return None
    secret = _secret(owner, settings, ring)
    if secret is None:
        return None
    right = hmac.compare_digest(proof.encode("utf-8", "replace"), _proof(secret, owner, expiry).encode())
    if not right or int(expiry) <= time.time():
        return None
    known = ring.by_id(owner)
    return callers.of_owner(known[1] if known else None, Way.COOKIE)
