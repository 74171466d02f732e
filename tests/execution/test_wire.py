"""Messages between worker and child come out as they went in, however the line cut them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.execution.wire import LIMIT, Unpacker, WireError, pack

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), _VALUES, max_size=3), max_size=5)


@pytest.mark.ci
@given(_MESSAGES, st.data())
def test_messages_survive_any_cut(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    stream = b"".join(map(pack, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    unpacker = Unpacker()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [message for piece in pieces for message in unpacker.feed(piece)] == messages


@pytest.mark.parametrize("body", [b"[1]", b"no json", b"\xff\xfe", b"", b"[" * 100_000])
@pytest.mark.parametrize("cut", [False, True])
def test_what_is_no_message_is_refused(body: bytes, cut: bool) -> None:
    data = struct.pack("!I", len(body)) + body
    unpacker = Unpacker()
    with pytest.raises(WireError):
        for piece in (data[:3], data[3:]) if cut else (data,):
            unpacker.feed(piece)


def test_too_large_a_message_is_refused_before_it_has_come() -> None:
    with pytest.raises(WireError, match="was announced"):
        Unpacker().feed(struct.pack("!I", LIMIT + 1))
    with pytest.raises(WireError, match="too many for one message"):
        pack({"text": "x" * LIMIT})
