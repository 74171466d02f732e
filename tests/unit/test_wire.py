"""Messages between worker and child survive any cut, and nothing else is taken for one."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.execution import wire
from jobrunner.execution.wire import Unpacker, WireError, pack

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_MESSAGES = st.dictionaries(st.text(), _VALUES, max_size=4)


@given(st.lists(_MESSAGES, max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_messages_survive_any_cut(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    data = b"".join(map(pack, messages))
    unpacker = Unpacker()
    found: list[dict[str, Any]] = []
    place = number = 0
    while place < len(data):
        step = cuts[number % len(cuts)]
        found += unpacker.feed(data[place : place + step])
        place, number = place + step, number + 1
    assert found == messages


def test_lone_surrogates_pass() -> None:
    assert Unpacker().feed(pack({"text": "\ud800\0"})) == [{"text": "\ud800\0"}]


@pytest.mark.parametrize("body", [b"[1]", b"no json", b'"text"', b"[" * 100_000])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        Unpacker().feed(struct.pack("!I", len(body)) + body)


def test_a_length_that_nobody_can_mean_is_refused_at_once() -> None:
    with pytest.raises(WireError, match="announced"):
        Unpacker().feed(b"\xff\xff\xff\xff")


def test_a_message_over_the_limit_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LIMIT", 100)
    with pytest.raises(WireError, match="too many"):
        pack({"text": "x" * 100})
