"""Logs: one line an event, secrets masked, whoever speaks; each case in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner.logs import redact
from jobrunner.text import mask, visible

START = """
import logging, sys, warnings
from jobrunner.logs import get_logger, setup
log, lib = get_logger("jobrunner.test"), logging.getLogger("lib")
"""


def stderr_of(code: str, *arguments: str) -> str:
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", START + code, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"", "stdout is for data"
    return done.stderr.decode("utf-8")


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_off_a_terminal_auto_means_json_and_times_are_utc() -> None:
    found = events(stderr_of('setup("INFO", "auto", None)\nlog.info("claimed %s", 3, task_id="t")\nlog.debug("no")'))
    (event,) = found
    assert (event["level"], event["logger"], event["task_id"]) == ("info", "jobrunner.test", "t")
    assert event["event"] == "claimed 3"
    assert list(event)[:4] == ["timestamp", "level", "logger", "event"]
    moment = datetime.fromisoformat(event["timestamp"])
    assert moment.utcoffset() == timedelta(0)
    assert abs(moment.timestamp() - time.time()) < 60


CORPUS = """
for text in ["a\\nb", "a\\r\\nb", "\\x1b[31m", "\\x00", "\\x85", "\\u2028x\\u2029", "\\x0b\\x0c", "\\ud800", "中文"]:
    log.info(text, field=text, deep={"x": [text]})
    lib.warning("%s", text, extra={"field": text})
"""


def test_in_json_every_event_is_one_line_and_keeps_its_text() -> None:
    text = stderr_of('setup("INFO", "json", None)' + CORPUS)
    assert len(text.splitlines()) == 18
    found = events(text)
    assert found[0]["event"] == found[0]["field"] == found[1]["event"] == found[1]["field"] == "a\nb"
    assert found[10]["deep"] == {"x": ["\u2028x\u2029"]}
    assert "中文" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_on_the_console_every_event_is_one_line_without_control_characters() -> None:
    text = stderr_of('setup("INFO", "console", None)' + CORPUS)
    assert len(text.splitlines()) == 18
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert r"a\nb" in text


def test_a_traceback_cannot_forge_an_event() -> None:
    code = """
try:
    raise ValueError("boom\\n2026-01-01T00:00:00Z [info     ] forged\\x1b[2J")
except ValueError:
    log.exception("failed")
    lib.exception("failed")
"""
    first, second = events(stderr_of('setup("INFO", "json", None)' + code))
    assert "ValueError: boom" in first["exception"]
    assert first["exception"] == second["exception"]
    lines = stderr_of('setup("INFO", "console", None)' + code).splitlines()
    assert len([line for line in lines if not line.startswith("  | ")]) == 2
    assert any("forged" in line for line in lines)
    assert "\x1b" not in "".join(lines)


def test_canary_secrets_appear_nowhere() -> None:
    code = """
import structlog
structlog.contextvars.bind_contextvars(session_token="canary-1")
log.info("to postgres://u:canary-2@h/d", password="canary-3", headers={"X-API-Key": "canary-4"})
log.info("sent X-API-Key: canary-5", url="postgresql+psycopg://u:canary-6@ss/w@h/d")
log.info("got", pairs=[(b"x-api-key", b"canary-7")])
lib.warning("Authorization: Bearer canary-8.%s", "canary-9", extra={"dsn": "canary-10"})
lib.warning("connect host=h password=canary-11 GET /x?api_key=canary-12&y=1")
try:
    raise ValueError('{"password": "canary-13"} postgres://u:canary-14@h')
except ValueError as error:
    log.exception("failed", error=error, nested=[{"api_key": ["canary-15"]}])
warnings.warn("token=canary-16")
"""
    for fmt in ("json", "console"):
        text = stderr_of(f'setup("INFO", "{fmt}", None)' + code)
        assert "canary" not in text
        assert text.count("***") >= 12


def test_what_json_does_not_have_becomes_text() -> None:
    code = """
class Bad:
    def __str__(self): raise RuntimeError("no")
loop = []
loop.append(loop)
log.info("x", bad=Bad(), nan=float("nan"), kind=int, loop=loop, long="a" * 100_000, many={1: {2}})
"""
    (event,) = events(stderr_of('setup("INFO", "json", None)' + code))
    assert event["bad"] == "<Bad that cannot be shown>"
    assert (event["nan"], event["kind"], event["many"]) == ("nan", "<class 'int'>", {"1": "{2}"})
    assert len(event["long"]) < 33_000
    assert "characters cut]" in event["long"]


@pytest.mark.ci
def test_the_file_is_rotated_and_a_second_setup_replaces_the_first(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "deep" / "node.log"
    code = """
setup("INFO", "json", None)
setup("WARNING", "console", sys.argv[1].replace("node", "other"))
setup("INFO", "auto", sys.argv[1])
for number in range(400):
    log.info("x" * 30_000, number=number)
logging.getLogger().handlers[0].flush()
"""
    lines = events(stderr_of(code, str(path)))
    assert [line["number"] for line in lines] == list(range(400))
    old = path.with_name("node.log.1")
    assert 9_900_000 < old.stat().st_size <= 10 * 1024 * 1024
    assert sorted(p.name for p in path.parent.iterdir()) == ["node.log", "node.log.1", "other.log"]
    assert events(path.read_text(encoding="utf-8"))[-1]["number"] == 399


def test_our_loggers_leave_a_program_that_did_not_ask_alone() -> None:
    code = """
import structlog
log.info("not wanted")
assert not structlog.is_configured() and not logging.getLogger().handlers
"""
    assert stderr_of(code) == ""


def test_in_the_logs_of_a_program_that_has_its_own_an_event_is_a_sentence() -> None:
    code = """
logging.basicConfig(level=logging.INFO, format="MY %(levelname)s %(message)s")
log.info("attempt ended", task_id="a", password="hidden", text="100 % of it")
try:
    raise ValueError("no")
except ValueError:
    log.exception("it broke")
"""
    first, second, *traceback = stderr_of(code).splitlines()
    assert first == "MY INFO attempt ended task_id=a password=*** text=100 % of it"
    assert second == "MY ERROR it broke"
    assert traceback[0].endswith("Traceback (most recent call last):")
    assert traceback[-1].endswith("ValueError: no")


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(), st.recursive(st.text() | st.floats() | st.integers(), st.lists), max_size=5))
def test_whatever_is_logged_can_be_written(fields: dict[str, Any]) -> None:
    json.dumps(dict(redact(None, "info", dict(fields))), allow_nan=False)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(), max_size=50))
def test_visible_leaves_nothing_unseen(text: str) -> None:
    line = visible(text, one_line=True)
    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line
    assert line.encode("utf-8").decode() == line


@pytest.mark.parametrize(
    "text",
    ["http://localhost:8900/a@b", "max_tokens=5", "invalid token: foo", "the basic idea", "a@b.example", "tokens: 5"],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "part", ["://:", "://:@", "password ", 'password="', "x-api-key   ", "a-", "Bearer ", "api_key='"]
)
def test_masking_hostile_text_takes_no_time(part: str) -> None:
    text = (part * 40_000)[:32_768]
    start = time.process_time()
    mask(text + "@")
    assert time.process_time() - start < 1
