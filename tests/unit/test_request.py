"""Requests made canonical: the quick looks say what the slow ones say, and hashes stay what they were."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobrunner.errors import InvalidInput, Problem
from jobrunner.queue import codec, gate
from jobrunner.queue.request import another, new_task
from jobrunner.text import NAME_MAX, has_controls
from tests.unit.test_codec import ANY_TEXT, JSON, TEXT

ODD = (
    st.just(math.nan)
    | st.floats()
    | st.integers()
    | ANY_TEXT
    | st.tuples(st.integers())
    | st.binary(max_size=2)
    | st.just({1: "a number as a key"})
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def is_control(character: str) -> bool:
    """The rule itself."""
    return unicodedata.category(character) in ("Cc", "Cs")


def test_no_character_is_judged_otherwise_than_by_its_category() -> None:
    every = [chr(point) for point in range(sys.maxunicode + 1)]
    assert [ch for ch in every if has_controls(ch)] == [ch for ch in every if is_control(ch)]


@given(ANY_TEXT | st.text(alphabet=st.sampled_from("ab\t\x7f\x85\ud800 é"), max_size=NAME_MAX + 5))
@example("x" * NAME_MAX)
@example("x" * (NAME_MAX + 1))
@example("x" * NAME_MAX + "\n")
@example("")
@example(".")
@example("..")
@example("...")
@example("a/\n")
def test_names_are_judged_by_the_rule(name: str) -> None:
    told = []
    if not 1 <= len(name) <= NAME_MAX:
        told = [f"must have 1 to {NAME_MAX} characters, not {len(name)}"]
    elif any(map(is_control, name)):
        told = ["must hold no control characters"]
    assert has_controls(name) == any(map(is_control, name))
    _judged("unique_key", name, told)
    if "/" in name or name in (".", ".."):
        told.append("must hold no '/' and be neither '.' nor '..': it is a part of a URL's path")
    _judged("queue", name, told)


def _judged(field: str, name: str, told: list[str]) -> None:
    if told:
        with pytest.raises(InvalidInput) as refused:
            new_task("work", None, **{field: name})  # type: ignore[arg-type]  # which field it is, the test says
        assert list(refused.value.problems) == [Problem(f"/{field}", detail) for detail in told]
    else:
        assert getattr(new_task("work", None, **{field: name}), field) == name  # type: ignore[arg-type]  # likewise


@given(st.dictionaries(TEXT, JSON, max_size=4))
@example({"b": 1, "a": {"d": [{"z": 0, "y": 1}], "c": -0.0}})
@example({"a": 1e-3, "b": 1e15, "c": 1e16, "d": 1e-5, "e": 0.1 + 0.2, "f": 123456.789})
@example({"a": '\x7f\x1f\b\f\n\r\t"\\/ \u2028 𝄞', "\\u0000": "\\u0000"})
def test_the_quick_texts_of_a_payload_are_those_of_json(payload: dict[str, Any]) -> None:
    plain = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    assert codec.payload(payload) == (plain, codec.canonical(payload).encode())


@given(st.dictionaries(ANY_TEXT, ANYTHING, max_size=3))
@example({"a": "\0"})
@example({"\0": 1})
@example({"a": "\ud800"})
@example({"a": [float("inf")]})
@example({"a": 2**63})
@example({"a": -(2**63) - 1})
@example({"a": [{2: 1}]})
def test_what_is_doubtful_is_judged_by_the_walk(payload: dict[str, Any]) -> None:
    def verdict(call: Any) -> Any:
        try:
            return call(payload)
        except InvalidInput as refused:
            return refused.problems

    def slowly(value: dict[str, Any]) -> tuple[str, bytes]:
        return codec.dump(value), codec.canonical(value).encode()

    assert verdict(codec.payload) == verdict(slowly)


@pytest.mark.parametrize("levels", [codec.MAX_DEPTH - 1, codec.MAX_DEPTH, codec.MAX_DEPTH + 1])
@pytest.mark.parametrize("nest", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_the_quick_look_goes_as_deep_as_the_walk(levels: int, nest: Any) -> None:
    value: Any = {}
    for _ in range(levels - 1):
        value = nest(value)
    payload = value if isinstance(value, dict) else {"list": value[0]}
    quick = gate.ordered(payload, codec.PAYLOAD_MAX_BYTES, codec.MAX_DEPTH) is not None
    try:
        codec.dump(payload)
    except InvalidInput:
        assert not quick
    else:
        assert quick


def test_shared_parts_end_the_quick_look_too() -> None:
    shared: list[Any] = ["x" * 1_000]
    for _ in range(25):
        shared = [shared, shared]
    with pytest.raises(InvalidInput, match="larger than"):
        codec.payload({"a": shared})


@pytest.mark.parametrize("over", [0, 1])
def test_size_is_counted_in_bytes(over: int) -> None:
    payload = {"a": "é" * ((codec.PAYLOAD_MAX_BYTES - 8) // 2) + "x" * over}
    if over:
        with pytest.raises(InvalidInput, match="larger than"):
            new_task("work", payload)
    else:
        assert len(new_task("work", payload).payload.encode()) == codec.PAYLOAD_MAX_BYTES


MOMENT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "when"),
    [({}, "null"), ({"delay": 5}, "5.0"), ({"run_at": MOMENT}, '"2026-01-31T09:30:00+00:00"')],
)
def test_the_hash_is_that_of_every_version_before(options: dict[str, Any], when: str) -> None:
    told = f'["mail","default",{when}]\n{{"a":[1,0.5],"b":"é"}}'
    made = new_task("mail", {"b": "é", "a": [1, 0.5]}, **options)
    assert made.request_hash == hashlib.sha256(told.encode()).hexdigest()


@given(st.dictionaries(TEXT, JSON, max_size=3))
def test_another_task_is_what_its_own_request_would_make(payload: dict[str, Any]) -> None:
    model = new_task("mail", {"first": True}, queue="q", priority=2, timeout=5, tags=["x"])
    made, own = another(model, payload), new_task("mail", payload, queue="q", priority=2, timeout=5, tags=["x"])
    assert made._replace(task_id="") == own._replace(task_id="")
    assert len({model.task_id, made.task_id, own.task_id}) == 3


@pytest.mark.parametrize("payload", [[1], "text", 5])
def test_another_payload_must_be_an_object_as_well(payload: Any) -> None:
    with pytest.raises(InvalidInput) as by_request:
        new_task("mail", payload)
    with pytest.raises(InvalidInput) as by_model:
        another(new_task("mail"), payload)
    assert (str(by_model.value), by_model.value.problems) == (str(by_request.value), by_request.value.problems)
