"""For the tests of your tasks: run one in this process, or kill it at each of its steps and see what is left.

Nothing of jobrunner imports this package.
"""

from jobrunner.testing.calls import Call, call
from jobrunner.testing.clock import Clock
from jobrunner.testing.errors import RehearsalError
from jobrunner.testing.inline import run
from jobrunner.testing.ran import Asked, Progress, Ran
from jobrunner.testing.report import Report, Step
from jobrunner.testing.survival import survive

__all__ = [
    "Asked",
    "Call",
    "Clock",
    "Progress",
    "Ran",
    "RehearsalError",
    "Report",
    "Step",
    "call",
    "run",
    "survive",
]
