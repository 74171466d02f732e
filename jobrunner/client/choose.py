"""Where to ask: REST where a URL is given or a server owns the SQLite file, else the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobrunner.client.desk import Desk
from jobrunner.errors import DatabaseLocked

if TYPE_CHECKING:
    from jobrunner.settings import Settings


def open_desk(settings: Settings, url: str | None = None) -> Desk:
    """Open a desk for ``settings``; ``url`` names a server. Close it, or use it in a ``with`` block."""
    key = settings.api_key.get_secret_value() if settings.api_key else None
    if url:
        return _remote(url, key)
    from jobrunner.client.local import Local

    try:
        return Local(settings.url, allow_unknown=settings.allow_unknown_types, handlers=settings.handlers)
    except DatabaseLocked as held:
        served = held.owner.get("url")
        if not served:
            raise
        return _remote(str(served), key)


def _remote(url: str, key: str | None) -> Desk:
    from jobrunner.client.remote import Remote

    return Remote(url, key)
