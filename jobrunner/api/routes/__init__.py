"""The table of all calls. A row without a declared scope keeps the app from starting."""

from jobrunner.api.routes import events, execute, node, nodes, overview, page, probes, schedules, static, tasks

TABLE = (
    *probes.ROUTES,
    *page.ROUTES,
    *static.ROUTES,
    *execute.ROUTES,
    *node.ROUTES,
    *tasks.ROUTES,
    *nodes.ROUTES,
    *schedules.ROUTES,
    *overview.ROUTES,
    *events.ROUTES,
)
