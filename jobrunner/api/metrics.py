"""Figures for Prometheus: of the queue and its nodes as one look at the database tells, and of this process's calls.

No payload, no task_id and no error text is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobrunner.api.looks import Shared
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue import views
from jobrunner.queue.task import Status
from jobrunner.queue.views import Health, NodeView, QueueView, Times

FRESH = 1.0  # seconds: several who scrape at once cost one look
WITHIN = 5.0  # seconds for a look; Prometheus gives up after ten
QUANTILES = (0.5, 0.95, 0.99)
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})  # others a caller may make up
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Look:
    """Everything that the database tells."""

    health: Health
    counts: dict[Status, int]
    queues: list[QueueView]
    nodes: list[NodeView]
    times: Times


class Metrics:
    """The figures of one application. Safe in threads."""

    def __init__(self, database: Database) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "jobrunner_http_request_seconds",
            "Seconds from a request's arrival to the beginning of its answer",
            ("method", "route", "status"),
            registry=self._registry,
            buckets=BUCKETS,
        )
        looks: Shared[Look] = Shared(lambda: _look(database), FRESH)
        self._registry.register(_Queue(looks.get))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is the table's path, never the caller's."""
        self._requests.labels(method if method in METHODS else "other", route, status).observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus's text format. The queue's are absent while the database does not answer."""
        return generate_latest(self._registry)


def _look(database: Database) -> Look:
    with database.read(deadline=WITHIN) as conn:
        return Look(
            views.health(conn),
            views.counts(conn),
            views.all_queues(conn),
            views.all_nodes(conn, alive_only=True),
            views.recent_times(conn),
        )


class _Queue(Collector):
    """Asks when it is asked."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._look = look

    def describe(self) -> list[Metric]:
        return []  # so that nobody looks at the database when this is registered

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("jobrunner_database_up", "Whether the database answers")
        try:
            look = self._look()
        except DatabaseUnavailable:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        yield from _of_tasks(look)
        yield from _of_queues(look.queues)
        yield from _of_nodes(look.nodes)


def _of_tasks(look: Look) -> Iterator[Metric]:
    by_status = GaugeMetricFamily("jobrunner_tasks", "Tasks by status, counted up to 10000", labels=("status",))
    for status, count in look.counts.items():
        by_status.add_metric((str(status),), count)
    yield by_status
    yield _gauge(
        "jobrunner_oldest_due_seconds", "How long the longest-waiting due task has waited", look.health.waiting
    )
    for name, rising, told in (
        ("waited", look.times.waited, "were due before their first start"),
        ("ran", look.times.ran, "took from their last start to their end"),
    ):
        family = GaugeMetricFamily(
            f"jobrunner_task_{name}_seconds",
            f"How long the tasks that ended within five minutes {told}",
            labels=("quantile",),
        )
        for share in QUANTILES:
            family.add_metric((f"{share:g}",), views.quantile(rising, share))
        yield family
    yield _gauge(
        "jobrunner_tasks_ended_recently", "Tasks that ended within five minutes, up to 2000", len(look.times.ran)
    )


def _of_queues(queues: list[QueueView]) -> Iterator[Metric]:
    told = {
        "pending": "Pending tasks of a queue, counted up to 10000",
        "running": "Running tasks of a queue",
        "paused": "Whether a queue is paused",
    }
    for name, text in told.items():
        family = GaugeMetricFamily(f"jobrunner_queue_{name}", text, labels=("queue",))
        for queue in queues:
            family.add_metric((queue.name,), float(getattr(queue, name)))
        yield family


def _of_nodes(nodes: list[NodeView]) -> Iterator[Metric]:
    labels = ("node_id", "node")
    gauges = {
        "slots": "Tasks that a living node runs at the same time",
        "running": "Tasks that it runs",
        "stuck": "Handlers that ignored their time-out",
        "cpu_percent": "CPU of its machine",
        "memory_percent": "Memory of its machine",
        "disk_percent": "Disk of its machine",
        "rss": "Bytes that its processes hold",
    }
    state = GaugeMetricFamily("jobrunner_node_state", "1 for the state it is in", labels=(*labels, "state"))
    for node in nodes:
        state.add_metric((node.id, node.name, node.state), 1)
    yield state
    for name, text in gauges.items():
        family = GaugeMetricFamily(f"jobrunner_node_{name}", text, labels=labels)
        for node in nodes:
            family.add_metric((node.id, node.name), getattr(node, name))
        yield family
    ended = CounterMetricFamily("jobrunner_node_tasks", "Attempts it ended", labels=(*labels, "outcome"))
    busy = CounterMetricFamily("jobrunner_node_busy_seconds", "Seconds its handlers ran", labels=labels)
    for node in nodes:
        ended.add_metric((node.id, node.name, "completed"), node.completed)
        ended.add_metric((node.id, node.name, "failed"), node.failed)
        busy.add_metric((node.id, node.name), node.busy_seconds)
    yield ended
    yield busy


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric((), value)
    return family
