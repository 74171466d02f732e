"""What every measurement works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobrunner.bench.processes import Processes
from jobrunner.bench.progress import Told
from jobrunner.bench.scale import Scale
from jobrunner.bench.scratch import Scratch


@dataclass
class Stage:
    """A scratch database, how much to do on it, whom to tell, and how to start processes there."""

    scratch: Scratch
    scale: Scale
    told: Told
    processes: Processes = field(init=False)

    def on(self, scratch: Scratch) -> Stage:
        """The same on another scratch database."""
        return Stage(scratch, self.scale, self.told)

    def __post_init__(self) -> None:
        self.processes = Processes(self.scratch)
