"""How much one attempt may say: a flood of output must fill neither the database nor the worker."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

from jobrunner.queue import codec
from jobrunner.queue.task import LogLine
from jobrunner.text import mask

LINE_BYTES = 4_096
LINES = 1_000  # of one attempt
CHARACTERS = 256_000  # of one attempt


class Quota:
    """What is left of an attempt's lines; what comes after is counted and dropped."""

    def __init__(self, what: str, lines: int = LINES, characters: int = CHARACTERS) -> None:
        self._what = what
        self._lines = lines
        self._characters = characters
        self._dropped = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> bool:
        """Whether no further line will be kept."""
        return self._lines <= 0 or self._characters <= 0

    def drop(self, lines: int) -> None:
        """Count lines that were never made."""
        with self._lock:
            self._dropped += lines

    def admit(self, line: LogLine) -> LogLine | None:
        """The line, cleaned and cut to what may be stored, or None when there were too many."""
        with self._lock:
            if self.spent:
                self._dropped += 1
                return None
            message = mask(codec.clean_text(line.message, LINE_BYTES))
            fields = codec.clean_fields(line.fields) if line.fields else "{}"
            self._lines -= 1
            self._characters -= len(message) + len(fields)
        return replace(line, level=codec.clean_text(line.level, 20), message=message, fields=json.loads(fields))

    def note(self) -> LogLine | None:
        """A line that says how many were dropped, if any were."""
        if not self._dropped:
            return None
        return LogLine(datetime.now(UTC), "warning", f"{self._dropped} more lines of {self._what} were dropped")
