"""The page's cookie: proof that its bearer once knew a key, without the key in it. Nothing is stored for it.

``<week>.<owner>.<proof>``: it ends as its week begins. The proof of a key in the database is that week's pass (see
``queue.key``), made of the key's text at the login and checked by what every node reads with the keys. So any node
takes it, it ends everywhere with its key, and neither a copy of the database nor a stolen cookie makes one that lasts
longer. The configured key is in no database: its proof is an HMAC by the key itself, which all nodes that have the
same one can check.
"""

from __future__ import annotations

import hmac
import time

from starlette.requests import Request
from starlette.responses import Response

from jobrunner.api.hosts import port_in, suffix
from jobrunner.api.keyring import Keyring
from jobrunner.queue import key
from jobrunner.queue.key import WEEK
from jobrunner.settings import Settings

LASTS = 5  # weeks, of which the first has begun
CONFIGURED = "-"  # which is no key's id


def _name(request: Request) -> str:
    # Cookies ignore ports: the nodes of one machine would sign each other's users out. The port that counts is that
    # of the address in the browser, which is one for all processes behind a proxy.
    plain = f"jobrunner_{port_in(request) or 'session'}{suffix(request)}"
    if request.url.scheme != "https":
        return plain
    return f"__Host-{plain}" if _path(request) == "/" else f"__Secure-{plain}"  # of the former the path must be /


def _path(request: Request) -> str:
    """Where the cookie is sent: what stands beside us behind the same proxy gets none."""
    return request.scope.get("root_path") or "/"


def start(response: Response, request: Request, ring: Keyring, text: str, owner: str) -> None:
    """Set the cookie of the key ``text``, whose ``owner`` is its id or CONFIGURED."""
    week = int(time.time()) // WEEK + LASTS
    if owner == CONFIGURED:
        proof = _proof_of_configured(text, week)
    else:
        found = ring.by_id(owner)
        assert found is not None, "this key was found just now"
        proof = key.pass_of(text, week, since=found[0].since)
    response.set_cookie(
        _name(request),
        f"{week}.{owner}.{proof}",
        max_age=week * WEEK - int(time.time()),
        path=_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def end(response: Response, request: Request) -> None:
    """Take the cookie away."""
    secure = request.url.scheme == "https"
    response.delete_cookie(_name(request), path=_path(request), secure=secure, httponly=True, samesite="strict")


def owner_of(request: Request, settings: Settings, ring: Keyring) -> str | None:
    """Whose session the request carries; None where it has none, it has ended, or its key opens nothing any more."""
    told, _, rest = request.cookies.get(_name(request), "").partition(".")
    owner, _, proof = rest.partition(".")
    if not (told.isascii() and told.isdigit() and len(told) < 12) or int(told) * WEEK <= time.time():
        return None
    if owner == CONFIGURED:
        right = settings.api_key is not None and hmac.compare_digest(
            proof.encode("utf-8", "replace"),
            _proof_of_configured(settings.api_key.get_secret_value(), int(told)).encode(),
        )
    else:
        found = ring.by_id(owner)
        right = found is not None and found[0].fits(proof, int(told))
    return owner if right else None


def _proof_of_configured(text: str, week: int) -> str:
    return hmac.digest(text.encode(), f"jobrunner session until week {week}".encode(), "sha256").hex()
