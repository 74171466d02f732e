"""The page at ``/``, its live part, and the form that asks for the key."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.responses import RedirectResponse, Response

from jobrunner.api import bodies, doors, fleet, overview, pages, sessions, wire
from jobrunner.api.doors import Scope
from jobrunner.api.looks import Looks
from jobrunner.api.problems import Refused
from jobrunner.api.route import Call, Content, Route
from jobrunner.errors import DatabaseUnavailable

FORM_MAX = 4_096  # bytes
VARIES = {"Vary": "Accept, Accept-Language, Cookie"}


def root(call: Call) -> Content:
    """HTML for who accepts it, else the guide's JSON. Without a session, a page asks for the key."""
    request, service = call.request, call.service
    if "text/html" not in request.headers.get("accept", ""):
        doors.admit(request, service.settings, Scope.READ)
        return _service(call)
    try:
        doors.admit(request, service.settings, Scope.READ)
    except Refused as refused:
        if refused.code != "key_needed":
            raise
        return pages.login(request, status=401, headers={**VARIES, **refused.headers})
    try:
        with service.database.read() as conn:
            found = overview.gather(conn)
    except DatabaseUnavailable:
        return pages.lost(request, VARIES)
    return pages.overview(request, found, signed_in=sessions.valid(request, service.settings), headers=VARIES)


def _service(call: Call) -> Content:
    told, lost = fleet.facts(call.service)
    return {
        "service": "jobrunner",
        "version": pages.VERSION,
        "node_id": told.node_id,
        "node_name": told.node_name,
        "status": "draining" if call.service.stopping() else wire.health(told, database_lost=lost).status,
    }


def live(call: Call) -> Content:
    """The part of the page that changes."""
    looks: Looks = call.request.app.state.looks
    return pages.live(call.request, looks.overview.get())


async def login(call: Call) -> Content:
    """Take the key once, and give a session for it."""
    request, settings = call.request, call.service.settings
    if not doors.from_this_site(request):
        raise Refused(403, "cross_origin", "a page of another site may not do this")
    form = parse_qs((await bodies.read(request, FORM_MAX)).decode("utf-8", "replace"))
    if not doors.is_key(form.get("key", [""])[0].strip(), settings):
        return pages.login(request, status=401, wrong=True)
    response = RedirectResponse(_home(call), 303)
    sessions.start(response, request, settings)
    return response


async def logout(call: Call) -> Content:
    """End the session in this browser."""
    if not doors.from_this_site(call.request):
        raise Refused(403, "cross_origin", "a page of another site may not do this")
    response: Response = RedirectResponse(_home(call), 303)
    sessions.end(response, call.request, call.service.settings)
    return response


def _home(call: Call) -> str:
    return f"{call.request.scope.get('root_path', '')}/"


ROUTES = (
    Route("/", root, scope=Scope.OPEN, summary="The page, or what this service is"),
    Route("/live", live, scope=Scope.READ, summary="The part of the page that changes"),
    Route("/login", login, ("POST",), Scope.OPEN, "Trade the key for a session", reads_body=True),
    Route("/logout", logout, ("POST",), Scope.OPEN, "End the session", reads_body=True),
)
