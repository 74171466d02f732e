"""Every statement that only reads. Nothing here changes a row."""

from jobrunner.queue.views.due import Due, due
from jobrunner.queue.views.ended import EndedView, StatsView, stats
from jobrunner.queue.views.failed import FailureGroup, Failures, OneFailureGroup, failure_group, failures
from jobrunner.queue.views.keys import AuditView, KeyView, all_keys, audit_page, is_any_key, one_key, usable_keys
from jobrunner.queue.views.lists import TaskFilter, TasksPage, tasks_page
from jobrunner.queue.views.nodes import NodeView, all_nodes, one_node, published_types, samples, types_and_nodes
from jobrunner.queue.views.operations import OperationView, all_operations, one_operation
from jobrunner.queue.views.overview import Health, counts, health, is_idle, now, oldest_due
from jobrunner.queue.views.queues import QueueView, all_queues, one_queue
from jobrunner.queue.views.recent import Times, quantile, recent_times
from jobrunner.queue.views.room import max_pending, meets, pending_in
from jobrunner.queue.views.schedules import ScheduleView, all_schedules, last_firings, schedule
from jobrunner.queue.views.tasks import (
    AttemptView,
    LogView,
    TaskState,
    TaskView,
    ended_among,
    last_ended,
    listed_among,
    queue_of,
    running,
    states_among,
    status,
    task,
    task_attempts,
    task_logs_page,
    tasks_among,
)
from jobrunner.queue.views.why import WhyView, why

__all__ = [
    "AttemptView",
    "AuditView",
    "Due",
    "EndedView",
    "FailureGroup",
    "Failures",
    "Health",
    "KeyView",
    "LogView",
    "NodeView",
    "OneFailureGroup",
    "OperationView",
    "QueueView",
    "ScheduleView",
    "StatsView",
    "TaskFilter",
    "TaskState",
    "TaskView",
    "TasksPage",
    "Times",
    "WhyView",
    "all_keys",
    "all_nodes",
    "all_operations",
    "all_queues",
    "all_schedules",
    "audit_page",
    "counts",
    "due",
    "ended_among",
    "failure_group",
    "failures",
    "health",
    "is_any_key",
    "is_idle",
    "last_ended",
    "last_firings",
    "listed_among",
    "max_pending",
    "meets",
    "now",
    "oldest_due",
    "one_key",
    "one_node",
    "one_operation",
    "one_queue",
    "pending_in",
    "published_types",
    "quantile",
    "queue_of",
    "recent_times",
    "running",
    "samples",
    "schedule",
    "states_among",
    "stats",
    "status",
    "task",
    "task_attempts",
    "task_logs_page",
    "tasks_among",
    "tasks_page",
    "types_and_nodes",
    "usable_keys",
    "why",
]
