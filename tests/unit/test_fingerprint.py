"""Failures of one kind have one fingerprint, whatever differs from case to case; of two kinds they have two."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.queue.fingerprint import _FOLDS, fingerprint, folded

_words = st.text("abcdefghijklmnopqrstuvwxyz ", min_size=1, max_size=20)
_same = {
    "a number": st.one_of(st.integers(0), st.floats(0, allow_nan=False, allow_infinity=False)).map(str),
    "an id": st.uuids().map(str),
    "hex": st.integers(2**32, 2**128).map(hex),
    "a quoted text": st.text(st.characters(exclude_characters="'\n\r", codec="utf-8"), max_size=20).map("'{}'".format),
    "a path": st.lists(st.text("abcxyz019._-", min_size=1, max_size=8), min_size=2, max_size=5).map(
        lambda parts: "/" + "/".join(parts)
    ),
}


@pytest.mark.parametrize("kind", _same)
def test_what_differs_from_case_to_case_is_folded(kind: str) -> None:
    @given(_words, _same[kind], _same[kind], _words)
    def run(before: str, one: str, other: str, behind: str) -> None:
        first, second = (f"x {before} {value} {behind} y" for value in (one, other))
        assert folded(first) == folded(second)
        assert fingerprint("t", "E", first) == fingerprint("t", "E", second)

    run()


@given(_words, _words)
def test_other_words_are_another_failure(one: str, other: str) -> None:
    different = " ".join(one.split()) != " ".join(other.split())
    assert (fingerprint("t", "E", one) != fingerprint("t", "E", other)) == different


@given(st.text(max_size=300), st.none() | st.text(max_size=50))
def test_any_text_has_one(error: str, error_class: str | None) -> None:
    found = fingerprint("t", error_class, error)
    assert len(found) == 16
    assert found == fingerprint("t", error_class, error)
    assert found != fingerprint("u", error_class, error)
    assert folded(folded(error)) == folded(folded(folded(error)))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("connection to 10.0.0.5:5432 refused after 3.5 s", "connection to <n> refused after <n> s"),
        ("no row 'abc-12' in \"bars\"", "no row <text> in <text>"),
        ("task 1fa32c10-3757-450a-bbce-d127df5882e4 is gone", "task <id> is gone"),
        ("<Thing object at 0x7f12ab34cd56>", "<Thing object at <hex>>"),
        ("cannot open /data/vipdoc/sh/lday/sh600000.day", "cannot open <path>"),
        ("cannot open C:\\data\\sh\\600000.day", "cannot open <path>"),
        ("GET https://example.org/a?b=1 failed", "GET <url> failed"),
        ("digest deadbeef12 differs", "digest <hex> differs"),
        ("defaced facade", "defaced facade"),
        ("", ""),
    ],
)
def test_what_an_error_is_folded_to(error: str, told: str) -> None:
    assert folded(error) == told


def test_a_long_error_costs_no_more_than_a_short_one() -> None:
    assert len(folded("word " * 100_000)) <= 2_000
    assert folded("'" * 100_000)


@pytest.mark.parametrize(
    "part", ["a.", "a+", "a-", "word", "1", "1.", "1.e+", "/", "/a", "C:/", "'", "\"'`", "<n>,", "a:/", "f0"]
)
def test_eight_times_the_text_takes_about_eight_times_as_long(part: str) -> None:
    """Each pattern reads it once, whatever it holds: one that looked on from every character would take 64 times."""

    def cost(pattern: re.Pattern[str], text: str) -> float:
        def once() -> float:
            began = time.thread_time()
            pattern.sub("", text)
            return time.thread_time() - began

        return min(once() for _ in range(3))

    for pattern, _ in _FOLDS:
        short, long = (part * (length // len(part)) for length in (2_000, 16_000))
        assert cost(pattern, long) < 30 * max(cost(pattern, short), 2e-5), pattern.pattern


def test_what_was_folded_before_is_not_folded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint("t", "E", "the same error")
    monkeypatch.setattr("jobrunner.queue.fingerprint.folded", None)
    assert len(fingerprint("t", "E", "the same error")) == 16
