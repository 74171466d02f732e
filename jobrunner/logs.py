"""Logs: set up once, to stderr and, where wished, to a rotated file. One event is one line; secrets are masked.

Our loggers are structlog's; those of libraries run through the same processors. Nothing global is changed until
``setup`` is called, so that a program that merely uses jobrunner keeps its own logs.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from jobrunner.text import MASK, is_secret, mask, visible

FILE_BYTES = 10 * 1024 * 1024
FILE_COUNT = 5
QUIET = {"alembic": "WARNING", "apscheduler": "ERROR", "uvicorn": "WARNING"}  # their news is not the operator's
VALUE_CHARACTERS = 32_768  # a longer value loses its middle
_DEPTH = 6
_FIRST = ("timestamp", "level", "logger", "event")
_MULTILINE = ("exception", "stack")
_NOT_SAID = frozenset({*_FIRST, *_MULTILINE})  # in a sentence: a record of logging has the first of its own

_UNPRINTABLE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]

_ours: list[logging.Handler] = []


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes an event and fields: ``log.info("claimed", task_id=...)``."""
    wrapped = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_COMMON,
            _handed_on,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast("structlog.stdlib.BoundLogger", wrapped)


def setup(
    level: str = "INFO", fmt: str = "auto", log_file: Path | str | None = None, *, colors: bool | None = None
) -> None:
    """Send all logs of this process, Python warnings too, to stderr and to ``log_file``. A second call replaces.

    ``fmt`` is ``console``, ``json``, or ``auto``: console on a terminal, else JSON. The file gets JSON unless ``fmt``
    is ``console``; it is rotated at 10 MB, five old ones are kept, and its folder is made. ``colors`` None means on a
    terminal only.
    """
    terminal = sys.stderr.isatty()
    console = fmt == "console" or (fmt == "auto" and terminal)
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_formatter(console=console, colors=terminal if colors is None else colors))
    handlers: list[logging.Handler] = [stream]
    if log_file is not None:
        path = Path(log_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        rotated = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILE_COUNT, encoding="utf-8")
        rotated.setFormatter(_formatter(console=fmt == "console", colors=False))
        handlers.append(rotated)
    root = logging.getLogger()
    for old in _ours:
        root.removeHandler(old)
        old.close()
    _ours[:] = handlers
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(True)


def _formatter(*, console: bool, colors: bool) -> logging.Formatter:
    renderers: list[Processor] = [_render_json]
    if console:
        plain = structlog.dev.plain_traceback
        renderers = [_one_line, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_COMMON, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, *renderers],
    )


def _handed_on(logger: WrappedLogger, method: str, event: EventDict) -> Any:
    """As our handlers take it, where ``setup`` made some; else as a sentence, for those of the program that uses us."""
    if _ours:
        return structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, method, event)
    told = _one_line(logger, method, redact(logger, method, event))
    text = [str(told.pop("event", "")), *(f"{key}={value}" for key, value in told.items() if key not in _NOT_SAID)]
    return "\n".join([" ".join(text), *(str(told[key]) for key in _MULTILINE if told.get(key))])


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets by a field's name and inside texts, at any depth, and turn what JSON does not know into text."""
    return {str(key): _redacted(str(key), value, 0) for key, value in event.items()}


def _redacted(key: str, value: Any, depth: int) -> Any:
    if is_secret(key) and value is not None and not isinstance(value, bool):
        return MASK
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if depth < _DEPTH:
        if isinstance(value, Mapping):
            return {str(name): _redacted(str(name), part, depth + 1) for name, part in value.items()}
        if isinstance(value, list | tuple):
            if len(value) == 2 and isinstance(value[0], str | bytes) and is_secret(str(value[0])):
                return [_text(value[0]), MASK]  # a header, as ASGI and HTTP clients hold it
            return [_redacted("", part, depth + 1) for part in value]
    return mask(_shortened(_text(value)))


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # a log line must not fail because of what it shows
        return f"<{type(value).__name__} that cannot be shown>"


def _shortened(text: str) -> str:
    cut = len(text) - VALUE_CHARACTERS
    if cut <= 0:
        return text
    half = VALUE_CHARACTERS // 2
    return f"{text[:half]}[{cut} characters cut]{text[-half:]}"


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {key: event[key] for key in _FIRST if key in event}
    text = json.dumps(first | dict(event), ensure_ascii=False)
    return _UNPRINTABLE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Every text on one line; a traceback, which people must read, on lines that cannot pass for an event."""
    return {visible(key, one_line=True): _line(key, value) for key, value in event.items()}


def _line(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value  # the renderer shows lists and dicts by repr, which escapes
    if key in _MULTILINE:
        return "\n".join(f"  | {visible(line, one_line=True)}" for line in value.split("\n"))
    return visible(value, one_line=True)
