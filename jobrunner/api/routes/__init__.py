"""The table of all calls. A row without a declared scope keeps the app from starting."""

from jobrunner.api.routes import (
    batch,
    docs,
    events,
    execute,
    figures,
    keys,
    metrics,
    node,
    nodes,
    openapi,
    operations,
    overview,
    page,
    probes,
    queues,
    results,
    schedules,
    static,
    tasks,
    types,
    why,
)

TABLE = (
    *execute.ROUTES,  # the calls made most stand first: a request is held against one row after the other
    *batch.ROUTES,  # before the tasks, whose paths it looks like: a wrong method is told of POST
    *tasks.ROUTES,
    *probes.ROUTES,
    *page.ROUTES,
    *static.ROUTES,
    *node.ROUTES,
    *docs.ROUTES,
    *events.ROUTES,
    *figures.ROUTES,
    *keys.ROUTES,
    *metrics.ROUTES,
    *nodes.ROUTES,
    *openapi.ROUTES,
    *operations.ROUTES,
    *overview.ROUTES,
    *queues.ROUTES,
    *results.ROUTES,
    *schedules.ROUTES,
    *types.ROUTES,
    *why.ROUTES,
)
