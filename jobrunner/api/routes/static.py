"""Static files, kept by browsers for as long as their address stays the same."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import Response

from jobrunner.api import web
from jobrunner.api.route import Call, Content, Route
from jobrunner.queue.key import Scope

FOR_EVER = "public, max-age=31536000, immutable"


async def static(call: Call) -> Content:
    """One file. They hold no secret, and the page that asks for the key needs them: open."""
    request = call.request
    found = web.assets().get(request.path_params["path"])
    if found is None:
        raise HTTPException(404)
    headers = {
        "Cache-Control": FOR_EVER if request.query_params.get("v") == found.version else "no-cache",
        "ETag": f'"{found.version}"',
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    content = found.content
    if found.packed and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = found.packed, "gzip"
    return Response(content, headers=headers, media_type=found.media_type)


ROUTES = (Route("/static/{path:path}", static, scope=Scope.OPEN, summary="Static files of the page"),)
