"""Every statement that changes state: one function per move.

Each takes a Connection and never opens, commits or sleeps: the caller owns the transaction.
"""

from jobrunner.queue.store.audit import Change, record
from jobrunner.queue.store.chosen import Chosen
from jobrunner.queue.store.claim import LATE, Claimed, Place, Room, claim, claim_into
from jobrunner.queue.store.control import cancel, expire, retry
from jobrunner.queue.store.enqueue import Submitted, enqueue, enqueue_many
from jobrunner.queue.store.keys import Issued, issue_key, note_used, revoke_key, rotate_key
from jobrunner.queue.store.lease import Reclaimed, Renewal, holds, reclaim, release, renew
from jobrunner.queue.store.limits import claim_within, limited_queues
from jobrunner.queue.store.nodes import (
    Beat,
    beat,
    drain_node,
    publish,
    published,
    register,
    remove_node,
    resume_node,
    stopped,
)
from jobrunner.queue.store.operations import (
    STEP,
    Step,
    abort_operation,
    begin_operation,
    next_operation,
    note_failure,
    step_operation,
)
from jobrunner.queue.store.queues import limit_queue, pause_queue, resume_queue
from jobrunner.queue.store.report import logs, progress
from jobrunner.queue.store.retention import prune_audit, prune_rest, prune_tasks
from jobrunner.queue.store.schedules import (
    advance,
    blame,
    due_schedules,
    fire,
    hold_schedule,
    remove_schedule,
    rename_firing,
    save_schedule,
    set_paused,
)
from jobrunner.queue.store.settle import Settled, settle

__all__ = [
    "LATE",
    "STEP",
    "Beat",
    "Change",
    "Chosen",
    "Claimed",
    "Issued",
    "Place",
    "Reclaimed",
    "Renewal",
    "Room",
    "Settled",
    "Step",
    "Submitted",
    "abort_operation",
    "advance",
    "beat",
    "begin_operation",
    "blame",
    "cancel",
    "claim",
    "claim_into",
    "claim_within",
    "drain_node",
    "due_schedules",
    "enqueue",
    "enqueue_many",
    "expire",
    "fire",
    "hold_schedule",
    "holds",
    "issue_key",
    "limit_queue",
    "limited_queues",
    "logs",
    "next_operation",
    "note_failure",
    "note_used",
    "pause_queue",
    "progress",
    "prune_audit",
    "prune_rest",
    "prune_tasks",
    "publish",
    "published",
    "reclaim",
    "record",
    "register",
    "release",
    "remove_node",
    "remove_schedule",
    "rename_firing",
    "renew",
    "resume_node",
    "resume_queue",
    "retry",
    "revoke_key",
    "rotate_key",
    "save_schedule",
    "set_paused",
    "settle",
    "step_operation",
    "stopped",
]
