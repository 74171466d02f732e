"""The documentation, as it was when this version was made: nothing of it is asked for elsewhere."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from jobrunner.api import docs, language, pages
from jobrunner.api.route import Call, Content, Route
from jobrunner.queue.key import Scope


def index(call: Call) -> Content:
    """The table of contents, in the reader's language where it is written in it."""
    return _page(call, docs.INDEX)


def page(call: Call) -> Content:
    """One page. They tell of the program and of nobody's tasks, so keys of named queues may read them."""
    return _page(call, call.request.path_params["page"])


def _page(call: Call, name: str) -> Content:
    request = call.request
    tag, root = language.chosen(request).tag, request.scope.get("root_path", "")
    found = docs.find(name, tag, root)
    if found is None:
        raise HTTPException(404)
    return pages.documentation(request, found, docs.contents(tag, root))


ROUTES = (
    Route("/docs", index, scope=Scope.READ, summary="The documentation: its table of contents", by_queue=True),
    Route("/docs/{page}", page, scope=Scope.READ, summary="A page of the documentation", by_queue=True),
)
