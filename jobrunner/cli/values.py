"""Reading what people type: arguments of a task, durations, moments. Pure but for the files they name."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import typer

Value = TypeVar("Value")

_PAIR = re.compile(r"([^=]*?)(:?=)(.*)", re.DOTALL)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_STEP = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def arguments(items: Sequence[str]) -> dict[str, Any]:
    """``key=text``, ``key:=json``, ``@file.json`` and ``-`` (standard input) as one object; what comes later wins."""
    found: dict[str, Any] = {}
    for item in items:
        if item == "-":
            found |= _object(_standard_input(), "standard input")
        elif item.startswith("@"):
            found |= _object(_file(item[1:]), item)
        else:
            key, value = _pair(item)
            found[key] = value
    return found


def duration(text: str) -> float:
    """``90``, ``30s``, ``5m``, ``2h``, ``1d`` or ``1h30m`` as seconds."""
    word = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", word):
        return float(word)
    if not _DURATION.fullmatch(word):
        raise typer.BadParameter(f"{text!r} is no duration; write 90, 30s, 5m, 2h, 1d or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _STEP.findall(word))


def whole(text: str) -> int:
    """A whole number, not negative."""
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"{text!r} is no whole number")
    return int(text)


def or_none(text: str, option: str, read: Callable[[str], Value]) -> Value | None:
    """What ``read`` makes of an option's text, or None where it says ``none``, which lifts a limit."""
    if text.strip().lower() in ("none", "null"):  # an empty text may be of a variable that is not set
        return None
    try:
        return read(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}; or write none", param_hint=option) from None


def moment(text: str) -> datetime:
    """An ISO 8601 time, aware; without a zone it is this machine's."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time; write it like 2026-01-31T09:30:00+08:00") from None


def since(text: str) -> datetime:
    """A moment, or how long ago it was: ``2h``, ``1d``."""
    if _DURATION.fullmatch(text.strip().lower()):
        try:
            return datetime.now(UTC) - timedelta(seconds=duration(text))
        except OverflowError:
            raise typer.BadParameter(f"{text!r} ago was before the year 1") from None
    try:
        return moment(text)
    except typer.BadParameter:
        raise typer.BadParameter(
            f"{text!r} is no time and no duration; write it like 15m, 2h, 1d or 2026-01-31T09:30:00+08:00"
        ) from None


def names(text: str | None) -> list[str] | None:
    """``a,b`` as a list; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _pair(item: str) -> tuple[str, Any]:
    match = _PAIR.fullmatch(item)
    if match is None or not match[1]:
        raise typer.BadParameter(f"{item!r} is none of key=text, key:=json, @file.json, -")
    key, sign, text = match.groups()
    return key, text if sign == "=" else _json(text, f"{key}:=")


def _file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise typer.BadParameter(f"{name} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{name} is not UTF-8") from None


def _standard_input() -> str:
    try:
        return sys.stdin.read().removeprefix("\ufeff")  # with which Windows likes to begin, as in a file
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"standard input is not {error.encoding.upper()}") from None


def _object(text: str, where: str) -> dict[str, Any]:
    found = _json(text, where)
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{where}: a JSON object {{...}} is wanted")
    return found


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{where} is not JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
