"""Renders the page: views in, HTML out. Every text comes from a catalogue, everything else is escaped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from jobrunner.api import docs, language, web
from jobrunner.api.overview import SHOWN, Overview
from jobrunner.api.problems import RETRY_AFTER
from jobrunner.queue.task import Status
from jobrunner.queue.views.overview import COUNT_CAP
from jobrunner.queue.views.shapes import moment

VERSION = version("jobrunner")
LANG_LASTS = 365 * 86_400  # seconds
SUMMARY = 200  # characters of an error
FIXES = {
    "lost": "jobrunner db check",
    "no_node": "jobrunner worker",
    "overloaded": "jobrunner nodes",
    "draining": "jobrunner worker",
    "full": "jobrunner worker",
    "nobody_takes_it": "jobrunner list --status pending",
}
"""The command that mends, or shows, each cause."""


def overview(request: Request, found: Overview, *, signed_in: bool, headers: Mapping[str, str]) -> Response:
    """The whole page."""
    return _html(request, "overview.html", _told(found) | {"signed_in": signed_in}, headers=headers)


def live(request: Request, found: Overview) -> Response:
    """The part that changes, for a swap."""
    return _html(request, "live.html", _told(found))


def login(request: Request, *, status: int, wrong: bool = False, headers: Mapping[str, str] | None = None) -> Response:
    """The form that asks for the key."""
    return _html(request, "login.html", {"wrong": wrong}, status, headers)


def lost(request: Request, headers: Mapping[str, str]) -> Response:
    """What readers get while the database does not answer; it asks again by itself."""
    return _html(request, "lost.html", {"fix": FIXES["lost"]}, 503, {**headers, "Retry-After": RETRY_AFTER})


def documentation(request: Request, found: docs.Doc, contents: Sequence[docs.Group]) -> Response:
    """One page of the documentation, with the list of all; 304 for who has this very page already."""
    shown = _html(request, "docs.html", {"doc": found, "contents": contents, "here": docs.address(found.name)})
    version = hashlib.sha256(bytes(shown.body)).hexdigest()[:16]
    shown.headers.update(
        {"ETag": f'"{version}"', "Cache-Control": "private, no-cache", "Vary": "Accept-Language, Cookie"}
    )
    if shown.headers["ETag"] not in request.headers.get("if-none-match", ""):
        return shown
    kept = ("etag", "cache-control", "vary", "content-language", "set-cookie")
    return Response(status_code=304, headers={name: shown.headers[name] for name in kept if name in shown.headers})


def _told(found: Overview) -> dict[str, Any]:
    alive = [node for node in found.nodes if node.alive]
    gone = [node for node in found.nodes if not node.alive]
    firing = [one for one in found.schedules if one.next_at is not None and not one.paused]
    return {
        "found": found,
        "fix": FIXES.get(found.cause),
        "counts": [(status, found.counts[status], found.counts[status] >= COUNT_CAP) for status in Status],
        "nodes": [*alive, *gone[: max(0, SHOWN - len(alive))]],
        "names": {node.id: node.name for node in found.nodes},
        "firing": firing[:SHOWN],
        "paused": sum(one.paused for one in found.schedules),
    }


def _html(
    request: Request,
    template: str,
    told: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    speaks = language.chosen(request)
    root = request.scope.get("root_path", "")
    text = _environment().get_template(template).render(**told, t=speaks, root=root, tags=language.catalogues())
    response = HTMLResponse(text, status, {"Content-Language": speaks.tag, **(headers or {})})
    if language.asked_for(request):
        response.set_cookie(
            language.cookie(request), speaks.tag, max_age=LANG_LASTS, path=root or "/", httponly=True, samesite="lax"
        )
    return response


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(web.folder() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(iso=moment, plain=_plain, summary=_summary)
    environment.globals.update(asset=web.versioned, version=VERSION, cap=f"{COUNT_CAP:,}")
    return environment


def _plain(at: datetime) -> str:
    """A time for who has no script to show it in the reader's zone."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _summary(error: str) -> str:
    """The first line of an error that is not empty."""
    line = next((line.strip() for line in error.splitlines() if line.strip()), "")
    return line if len(line) <= SUMMARY else f"{line[: SUMMARY - 1]}…"
