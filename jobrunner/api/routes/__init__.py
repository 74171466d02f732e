"""The table of all calls. A row without a declared scope keeps the app from starting."""

from jobrunner.api.routes import (
    batch,
    events,
    execute,
    keys,
    node,
    nodes,
    openapi,
    overview,
    page,
    probes,
    results,
    schedules,
    static,
    tasks,
)

TABLE = (
    *execute.ROUTES,  # the calls made most stand first: a request is held against one row after the other
    *tasks.ROUTES,
    *batch.ROUTES,
    *results.ROUTES,
    *probes.ROUTES,
    *page.ROUTES,
    *static.ROUTES,
    *node.ROUTES,
    *nodes.ROUTES,
    *schedules.ROUTES,
    *overview.ROUTES,
    *events.ROUTES,
    *keys.ROUTES,
    *openapi.ROUTES,
)
