"""The composition root of a process: builds the parts, ticks the duties, owns the signals. No policy."""

from jobrunner.runtime.process import Process
from jobrunner.runtime.run import Plan, run

__all__ = ["Plan", "Process", "run"]
