"""The page's cookie: proof that its bearer once knew the key, without the key in it. Nothing is stored."""

from __future__ import annotations

import hmac
import time

from starlette.requests import Request
from starlette.responses import Response

from jobrunner.settings import Settings

LASTS = 30 * 86_400  # seconds


def _name(request: Request, settings: Settings) -> str:
    # Cookies ignore ports: the nodes of one machine would sign each other's users out.
    plain = f"jobrunner_{settings.port or 'session'}"
    return f"__Host-{plain}" if request.url.scheme == "https" else plain


def _proof(expiry: str, settings: Settings) -> str:
    if settings.api_key is None:
        return ""
    key = settings.api_key.get_secret_value().encode()
    return hmac.digest(key, f"jobrunner session until {expiry}".encode(), "sha256").hex()


def start(response: Response, request: Request, settings: Settings) -> None:
    """Set the cookie; a new key ends every session."""
    expiry = str(int(time.time()) + LASTS)
    response.set_cookie(
        _name(request, settings),
        f"{expiry}.{_proof(expiry, settings)}",
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


def valid(request: Request, settings: Settings) -> bool:
    """Whether the request carries a session that the current key made and that has not expired."""
    expiry, _, proof = request.cookies.get(_name(request, settings), "").partition(".")
    if settings.api_key is None or not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12:
        return False
    right = hmac.compare_digest(proof.encode("utf-8", "replace"), _proof(expiry, settings).encode())
    return right and int(expiry) > time.time()
