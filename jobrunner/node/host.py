"""This machine and this process in figures. The only importer of psutil beside the children's room."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

MEAN_SECONDS = 10.0  # the CPU limit works on a mean, so that one busy moment stops nothing


@dataclass(frozen=True, slots=True)
class Figures:
    """Percentages 0 to 100; ``rss`` (this process with all its children) and ``memory_total`` in bytes."""

    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    disk_percent: float = 0.0
    load: float = 0.0
    rss: int = 0
    cpu_count: int = 1
    memory_total: int = 0

    def columns(self) -> dict[str, Any]:
        """As columns of the node's row."""
        return asdict(self)


class Host:
    """Samples figures; one that cannot be had keeps its last value."""

    def __init__(self, data_dir: str | Path) -> None:
        self._data_dir = Path(data_dir)
        self._process = psutil.Process()
        self._cpu: deque[tuple[float, float]] = deque()
        self._last: dict[str, Any] = {}
        psutil.cpu_percent()  # the first call only marks the beginning

    def sample(self) -> Figures:
        """The figures now; ``cpu_percent`` is since the last sample."""
        cpu = self._try("cpu_percent", psutil.cpu_percent)
        self._remember(cpu or 0.0)
        memory = self._try("memory", psutil.virtual_memory)
        return Figures(
            cpu_percent=cpu or 0.0,
            memory_percent=memory.percent if memory else 0.0,
            disk_percent=self._try("disk", self._disk) or 0.0,
            load=self._try("load", lambda: psutil.getloadavg()[0]) or 0.0,
            rss=self._try("rss", self.rss) or 0,
            cpu_count=self._try("cpu_count", psutil.cpu_count) or 1,
            memory_total=memory.total if memory else 0,
        )

    def cpu_mean(self) -> float:
        """The CPU percentage over the last ten seconds of samples."""
        kept = tuple(self._cpu)  # the heartbeat's thread may add to it meanwhile
        return sum(value for _, value in kept) / len(kept) if kept else 0.0

    def rss(self) -> int:
        """Resident bytes of this process and everything that it started."""
        total: int = self._process.memory_info().rss
        for child in self._process.children(recursive=True):
            try:
                total += child.memory_info().rss
            except psutil.Error:  # it ended between our two looks
                continue
        return total

    def _disk(self) -> float:
        here = self._data_dir if self._data_dir.exists() else Path.cwd()
        return float(psutil.disk_usage(str(here)).percent)

    def _remember(self, cpu: float) -> None:
        moment = time.monotonic()
        self._cpu.append((moment, cpu))
        while self._cpu and self._cpu[0][0] < moment - MEAN_SECONDS:
            self._cpu.popleft()

    def _try(self, name: str, read: Any) -> Any:
        try:
            self._last[name] = read()
        except (psutil.Error, OSError):  # a vanished mount or a hidden /proc is no reason to stop working
            return self._last.get(name)
        return self._last[name]
