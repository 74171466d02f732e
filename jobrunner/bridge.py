"""The bridge of the old system under its old name: ``from jobrunner.bridge import get_distributed_bridge``."""

from __future__ import annotations

from jobrunner.client.bridge import DistributedBridge, get_distributed_bridge
from jobrunner.client.bridge_values import AvailableNode, TaskResult
from jobrunner.client.errors import NotTaken, OutcomeUnknown, Refused

__all__ = [
    "AvailableNode",
    "DistributedBridge",
    "NotTaken",
    "OutcomeUnknown",
    "Refused",
    "TaskResult",
    "get_distributed_bridge",
]
