"""The page at ``/``, its live part, and the form that asks for the key."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from jobrunner.api import bodies, doors, fleet, hosts, overview, pages, sessions, wire
from jobrunner.api.keyring import Keyring
from jobrunner.api.looks import Looks
from jobrunner.api.problems import Refused
from jobrunner.api.route import Call, Content, Route
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue.key import Scope

FORM_MAX = 4_096  # bytes
VARIES = {"Vary": "Accept, Accept-Language, Cookie"}


async def root(call: Call) -> Content:
    """HTML for who accepts it, else the guide's JSON. Without a session, a page asks for the key."""
    request, settings = call.request, call.service.settings
    if "text/html" not in request.headers.get("accept", ""):
        await doors.admit(request, settings, Scope.READ, every_queue=True)
        return await run_in_threadpool(_service, call)
    try:
        await doors.admit(request, settings, Scope.READ, every_queue=True)
    except Refused as refused:
        if refused.code != "key_needed":
            raise
        return pages.login(request, status=401, headers={**VARIES, **refused.headers})
    except DatabaseUnavailable:
        return pages.lost(request, VARIES)
    return await run_in_threadpool(_page, call)


def _page(call: Call) -> Response:
    request, service = call.request, call.service
    try:
        with service.database.read() as conn:
            found = overview.gather(conn)
    except DatabaseUnavailable:
        return pages.lost(request, VARIES)
    signed_in = sessions.owner_of(request, service.settings, request.app.state.keyring) is not None
    return pages.overview(request, found, signed_in=signed_in, headers=VARIES)


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
    """Take a key once, and give a session for it."""
    request, settings = call.request, call.service.settings
    if not hosts.from_this_site(request):
        raise Refused(403, "cross_origin", "a page of another site may not do this")
    form = parse_qs((await bodies.read(request, FORM_MAX)).decode("utf-8", "replace"))
    given = form.get("key", [""])[0].strip()
    ring: Keyring = request.app.state.keyring
    await run_in_threadpool(ring.look)
    owner = sessions.CONFIGURED if doors.is_configured(given, settings) else None
    if owner is None:
        found = ring.find(given)
        if found is None:
            return pages.login(request, status=401, wrong=True)
        doors.charge(ring, found)
        owner = found.id
    response = RedirectResponse(_home(call), 303)
    sessions.start(response, request, ring, given, owner)
    return response


async def logout(call: Call) -> Content:
    """End the session in this browser."""
    if not hosts.from_this_site(call.request):
        raise Refused(403, "cross_origin", "a page of another site may not do this")
    response: Response = RedirectResponse(_home(call), 303)
    sessions.end(response, call.request)
    return response


def _home(call: Call) -> str:
    return f"{call.request.scope.get('root_path', '')}/"


ROUTES = (
    Route("/", root, scope=Scope.OPEN, summary="The page, or what this service is"),
    Route("/live", live, scope=Scope.READ, summary="The part of the page that changes"),
    Route("/login", login, ("POST",), Scope.OPEN, "Trade the key for a session", reads_body=True),
    Route("/logout", logout, ("POST",), Scope.OPEN, "End the session", reads_body=True),
)
