"""Cursors come back as they were given, or are refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.queue.views.cursors import cursor, row_of


@given(st.integers(0, 2**63 - 1))
def test_a_cursor_comes_back_to_its_own_list_alone(row: int) -> None:
    text = cursor("tasks", row)
    assert row_of("tasks", text) == row
    assert set(text) <= {*string.ascii_letters, *string.digits, "-", "_"}
    with pytest.raises(ValueError, match="not one"):
        row_of("audit", text)


@given(st.text(max_size=24) | st.text(alphabet=string.ascii_letters + string.digits + "-_=", min_size=18, max_size=22))
def test_what_no_page_gave_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not one"):
        row_of("tasks", text)


def test_a_spoiled_cursor_is_refused() -> None:
    text = cursor("tasks", 4711)
    for place in range(len(text)):
        for other in "AB_":
            spoiled = text[:place] + other + text[place + 1 :]
            if spoiled != text:
                with pytest.raises(ValueError, match="not one"):
                    row_of("tasks", spoiled)
    for spoiled in ("", "4711", text[:-1], f"{text}=", f" {text}", text.swapcase()):
        with pytest.raises(ValueError, match="not one"):
            row_of("tasks", spoiled)
