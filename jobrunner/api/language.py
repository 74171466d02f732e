"""The page's languages: catalogues, which one a reader wants, and how durations and counts are said in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from starlette.requests import Request

from jobrunner.api import hosts, web

DEFAULT = "en"
_COOKIE = "jobrunner_lang"
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@cache
def catalogues() -> dict[str, dict[str, str]]:
    """Every catalogue by its language tag: flat, from key to text."""
    homes = sorted((web.folder() / "locales").glob("*.json"))
    return {home.stem: json.loads(home.read_text(encoding="utf-8")) for home in homes}


@dataclass(frozen=True)
class Language:
    """One language: ``tag`` for ``<html lang>``; call it with a key for the text."""

    tag: str

    def __call__(self, key: str, **filled: object) -> str:
        """The text of ``key``, with ``{names}`` filled in; raises KeyError for a key that no catalogue has."""
        return catalogues()[self.tag][key].format_map(filled)

    def count(self, key: str, number: int) -> str:
        """A text with a number in it: ``key.one`` or ``key.other``."""
        return self(f"{key}.{'one' if number == 1 else 'other'}", n=f"{number:,}")

    def duration(self, seconds: float) -> str:
        """Seconds in the two units that matter: ``2 h 5 min``."""
        if seconds < 10:
            return self("duration.second", n=f"{seconds:.1f}")
        told: list[str] = []
        left = round(seconds)
        for unit, size in _UNITS:
            number, left = divmod(left, size)
            if told or number:
                told.append(self(f"duration.{unit}", n=f"{number:,}") if number else "")
        return " ".join(part for part in told[:2] if part)


def cookie(request: Request) -> str:
    """The name of the cookie that keeps the choice: under each path one of its own, as its session has."""
    return f"{_COOKIE}{hosts.suffix(request)}"


def asked_for(request: Request) -> str | None:
    """The language that the address asks for, if there is such a catalogue."""
    return _match(request.query_params.get("lang", ""))


def chosen(request: Request) -> Language:
    """``?lang``, else the cookie, else Accept-Language, else English."""
    found = asked_for(request) or _match(request.cookies.get(cookie(request), "")) or _accepted(request)
    return Language(found or DEFAULT)


def _accepted(request: Request) -> str | None:
    wishes = []
    for position, part in enumerate(request.headers.get("accept-language", "").split(",")[:20]):
        tag, _, weight = part.strip().partition(";q=")
        try:
            wishes.append((-float(weight or 1), position, tag))
        except ValueError:
            continue
    found = (_match(tag) for weight, _, tag in sorted(wishes) if weight < 0)
    return next((tag for tag in found if tag), None)


def _match(wish: str) -> str | None:
    """The catalogue of this very tag, else one of the same language: zh and zh-TW read zh-CN."""
    tags = {tag.lower(): tag for tag in catalogues()}
    if wish.lower() in tags:
        return tags[wish.lower()]
    primary = wish.lower().partition("-")[0]
    return next((tag for tag in catalogues() if primary and tag.lower().partition("-")[0] == primary), None)
