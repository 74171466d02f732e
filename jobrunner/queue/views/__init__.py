"""Every statement that only reads. Nothing here changes a row."""

from jobrunner.queue.views.due import Due, due
from jobrunner.queue.views.overview import (
    Health,
    NodeView,
    all_nodes,
    counts,
    health,
    is_idle,
    now,
    oldest_due,
    published_types,
    samples,
    server_uptime,
)
from jobrunner.queue.views.schedules import ScheduleView, all_schedules, last_firings, schedule
from jobrunner.queue.views.tasks import (
    AttemptView,
    LogView,
    TaskView,
    last_ended,
    running,
    status,
    task,
    task_attempts,
    task_logs_page,
    tasks_page,
)

__all__ = [
    "AttemptView",
    "Due",
    "Health",
    "LogView",
    "NodeView",
    "ScheduleView",
    "TaskView",
    "all_nodes",
    "all_schedules",
    "counts",
    "due",
    "health",
    "is_idle",
    "last_ended",
    "last_firings",
    "now",
    "oldest_due",
    "published_types",
    "running",
    "samples",
    "schedule",
    "server_uptime",
    "status",
    "task",
    "task_attempts",
    "task_logs_page",
    "tasks_page",
]
