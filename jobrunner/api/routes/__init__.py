"""The table of all calls. A row without a declared scope keeps the app from starting."""

from jobrunner.api.routes import (
    batch,
    docs,
    events,
    execute,
    keys,
    metrics,
    node,
    nodes,
    openapi,
    overview,
    page,
    probes,
    queues,
    results,
    schedules,
    static,
    tasks,
    types,
)

TABLE = (
    *execute.ROUTES,  # the calls made most stand first: a request is held against one row after the other
    *tasks.ROUTES,
    *batch.ROUTES,
    *probes.ROUTES,
    *page.ROUTES,
    *static.ROUTES,
    *node.ROUTES,
    *docs.ROUTES,
    *events.ROUTES,
    *keys.ROUTES,
    *metrics.ROUTES,
    *nodes.ROUTES,
    *openapi.ROUTES,
    *overview.ROUTES,
    *queues.ROUTES,
    *results.ROUTES,
    *schedules.ROUTES,
    *types.ROUTES,
)
