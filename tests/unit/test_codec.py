"""JSON and text on their way into the database: refused with a pointer, or kept as it was."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobrunner.errors import InvalidInput
from jobrunner.queue import codec
from jobrunner.queue.codec import canonical, check, clean_fields, clean_text, dump, load, parse

ANY_TEXT = st.text(alphabet=st.characters())  # with surrogates and NUL
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def problems(call: Callable[..., object], *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        call(*args, **kwargs)
    return [(problem.pointer, problem.detail) for problem in caught.value.problems]


def parsed(data: bytes | str) -> tuple[Any, InvalidInput | None]:
    try:
        return parse(data), None
    except InvalidInput as error:
        return None, error


@settings(deadline=None)
@given(JSON)
def test_what_json_has_comes_back_as_it_was(value: Any) -> None:
    text = dump(value)
    assert parse(text) == parse(text.encode()) == load(text) == json.loads(text) == value
    assert canonical(json.loads(canonical(value))) == canonical(value)


@settings(deadline=None)
@given(ANY_TEXT)
@example("a\0b")
@example("\ud800")
@example("\ud83d\ude00")
def test_every_string_comes_back_or_is_refused(text: str) -> None:
    storable = "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
    if storable:
        assert load(dump({text: text})) == {text: text}
    else:
        assert len(problems(dump, [text])) == 1
        assert len(problems(dump, {text: 1})) == 1


@settings(deadline=None)
@given(st.binary(max_size=60) | ANY_TEXT | JSON.map(json.dumps))
@example(b'{"a":1e999}')
@example("\ufeff{}")
def test_bytes_from_outside_give_a_value_that_can_be_stored_or_a_refusal(data: bytes | str) -> None:
    value, refused = parsed(data)
    if refused is None:
        assert load(dump(value)) == value
    else:
        assert refused.problems
        assert str(refused).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "pointer", "told"),
    [
        ('{"a": [1, NaN]}', "/a/1", "NaN"),
        ('{"a": -Infinity}', "/a", "-Infinity"),
        ('{"a": 1e999}', "/a", "1e999"),
        ("9223372036854775808", "", "9223372036854775808"),
        ("-9223372036854775809", "", "not a number"),
        ("1" * 5000, "", "1111..."),
        ('{"a": {"b": "x\\u0000"}}', "/a/b", "NUL"),
        ('{"a\\u0000": 1}', "/a\\x00", "key holds a NUL"),
        ('["\\ud800"]', "/0", "surrogate"),
        ('{"\\udfff": 1}', "/\\udfff", "surrogate"),
        ('{"a": {"b": 1, "b": 2}}', "/a/b", "twice"),
        ('{"a/b": {"c~": NaN}}', "/a~1b/c~0", "NaN"),
        ("{} x", "", "line 1, column 4"),
        ("{} {}", "", "Extra data"),
        ("{'a': 1}", "", "column 2"),
        ("", "", "line 1, column 1"),
        ('"a\nb"', "", "control character"),
        ("[" * 33 + "]" * 33, "", "deeper than 32"),
        ("[" * 100_000, "", "deeper than 32"),
        ('{"a":' * 100_000, "", "deeper than 32"),
        ('"' + '\\"' * 50 + "[" * 100_000, "", "Unterminated"),
    ],
)
def test_parse_says_what_is_wrong_and_where(text: str, pointer: str, told: str) -> None:
    ((found, detail),) = problems(parse, text)
    assert found == pointer
    assert told in detail


def test_all_problems_are_told_at_once_up_to_twenty() -> None:
    found = problems(parse, '{"a": NaN, "b": "\\u0000", "c": [1e999]}')
    assert [pointer for pointer, _ in found] == ["/a", "/b", "/c/0"]
    assert len(problems(parse, "[" + ",".join(["NaN"] * 1000) + "]")) == 20


def test_bad_utf8_says_where() -> None:
    assert problems(parse, b'{"a": "\xff"}') == [("", "not UTF-8 at byte 7")]
    assert problems(parse, '{"a":"\ud800"}')[0][0] == "/a"
    assert problems(parse, "{}".encode("utf-16"))[0][1] == "not UTF-8 at byte 0"


def test_limits_in_bytes_and_levels() -> None:
    deep: Any = 1
    for _ in range(32):
        deep = [deep]
    assert parse(dump(deep)) == deep
    assert problems(dump, [deep])[0][0] == "/0" * 32
    assert parse("[[[]],[[]]]" + " " * 20, max_depth=3) == [[[]], [[]]]
    text = json.dumps("é" * 100, ensure_ascii=False)
    assert parse(text, max_bytes=202)
    assert problems(parse, text, max_bytes=201) == [("", "larger than 201 bytes")]
    assert problems(parse, text.encode(), max_bytes=201) == [("", "larger than 201 bytes")]
    assert dump("é" * 100, max_bytes=202)
    assert problems(dump, "é" * 100, max_bytes=201, at="/task_data") == [("/task_data", "larger than 201 bytes")]
    assert problems(check, "x" * codec.PAYLOAD_MAX_BYTES)
    assert parse('"' + "[" * 1000 + '"') == "[" * 1000, "brackets inside text are no depth"
    assert parse('["\\"' + "[" * 1000 + '"]') == ['"' + "[" * 1000]


class Level(IntEnum):
    HIGH = 7


def test_python_values_go_through_the_same_gate() -> None:
    wrong = {
        "date": datetime.now(UTC), "set": {1}, "bytes": b"x", "decimal": Decimal(1), "nan": math.nan,
        "inf": [math.inf], "big": 2**63, "object": object(), "in/side": {1: 2},
    }  # fmt: skip
    found = problems(check, wrong, at="/task_data")
    assert [pointer for pointer, _ in found] == [
        "/task_data/date", "/task_data/set", "/task_data/bytes", "/task_data/decimal", "/task_data/nan",
        "/task_data/inf/0", "/task_data/big", "/task_data/object", "/task_data/in~1side",
    ]  # fmt: skip
    assert dump({"a": (1, Level.HIGH, True, None, 2**63 - 1)}) == '{"a":[1,7,true,null,9223372036854775807]}'
    assert dump("中文") == '"中文"'


def test_circular_and_shared_values_end() -> None:
    circle: list[Any] = []
    circle.extend([circle] * 5)
    shared: list[Any] = [1]
    for _ in range(31):
        shared = [shared, shared]
    for value in (circle, shared):
        assert problems(dump, value)[0][1] == f"larger than {codec.PAYLOAD_MAX_BYTES} bytes"


def test_canonical_text_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": {"d": [1, 2], "c": 0.5}}) == '{"a":{"c":0.5,"d":[1,2]},"b":1}'
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    assert canonical([1, 2]) != canonical([2, 1])
    assert problems(canonical, {"a": math.nan})


def test_floats_that_jsonb_spells_out_come_back_as_floats() -> None:
    assert load('{"a": 1' + "0" * 300 + ', "b": 9223372036854775807}') == {"a": 1e300, "b": 2**63 - 1}


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Odd:
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


@settings(deadline=None)
@given(ANY_TEXT, st.integers(0, 300))
@example("\0" * 100, 50)
@example("\ud800" * 100, 51)
@example("é" * 100, 31)
def test_clean_text_can_always_be_stored(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert len(cleaned.encode("utf-8")) <= limit
    assert not [letter for letter in cleaned if letter != "\n" and letter != "\t" and ord(letter) < 32]


def test_clean_text_shows_what_was_there() -> None:
    assert clean_text("a\0b\ud800\x1b[1m\r\n\tc\rd", 100) == "a\\x00b\\ud800\\x1b[1m\n\tc\\rd"
    assert clean_text(ValueError("bad\0"), 100) == "bad\\x00"
    assert clean_text(b"x\xff", 100) == "x\\xff"
    assert clean_text(None, 100) == "None"
    assert clean_text(Rude(), 100) == "<Rude whose text cannot be read>"
    assert clean_text(Odd(), 100) == "<Odd whose text cannot be read>"
    assert clean_text(10**5000, 100) == "<int whose text cannot be read>"


def test_clean_text_says_how_much_it_cut_and_keeps_both_ends() -> None:
    text = "start" + "é" * 10_000 + "end"
    cleaned = clean_text(text, 1000)
    head, note, tail = cleaned.split("\n")
    assert len(cleaned.encode()) in range(990, 1001)
    assert head.startswith("start")
    assert tail.endswith("end")
    assert note == f"[{len(text) - len(head) - len(tail)} characters cut]"
    assert clean_text(text, 8) == "starté"


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(ANY_TEXT | st.integers(), st.recursive(ANY_TEXT | st.floats() | st.integers(), st.lists)))
def test_clean_fields_can_always_be_stored(fields: dict[Any, Any]) -> None:
    text = clean_fields(fields, max_bytes=400)
    assert len(text.encode()) <= 400
    check(load(text))


def test_clean_fields() -> None:
    circle: list[Any] = []
    circle.append(circle)
    fields = {"a": math.nan, "b": 2**70, "c": Rude(), "d": circle, 5: b"x", "e": {"f": (1, 2.5, None, True)}}
    found = load(clean_fields(fields))
    assert (found["a"], found["b"], found["c"]) == ("nan", str(2**70), "<Rude whose text cannot be read>")
    assert (found["5"], found["e"]) == ("x", {"f": [1, 2.5, None, True]})
    many = load(clean_fields({f"k{n}": "x" * 5000 for n in range(100)}))
    assert many["cut"] > 0
    assert "characters cut]" in many["k0"]


@pytest.mark.parametrize(
    "text",
    ["[" + "1," * 500_000 + "1]", "1" * 1_048_000, "[" * 40 + '"' + '\\"' * 500_000, '"\\' * 500_000, "[]" * 500_000],
    ids=["numbers", "digits", "open text", "quotes", "brackets"],
)
def test_hostile_documents_of_full_size_take_no_time(text: str) -> None:
    start = time.process_time()
    value, refused = parsed(text)
    assert (value is None) != (refused is None)
    assert time.process_time() - start < 5
