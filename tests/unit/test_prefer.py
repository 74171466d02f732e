"""``Prefer`` as RFC 7240 spells it, and keys as clients write them."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from jobrunner.api import prefer
from jobrunner.api.schemas import WaitQuery
from jobrunner.errors import InvalidInput


def request(*headers: tuple[str, str]) -> Request:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("wait=10", {"wait": "10"}),
        ("Wait = 10", {"wait": "10"}),
        ('wait="10"', {"wait": "10"}),
        ("respond-async, wait=10", {"respond-async": "", "wait": "10"}),
        ('return=minimal; foo="some, parameter; x", wait=5', {"return": "minimal", "wait": "5"}),
        ('x="a, wait=1", wait=2', {"x": "a, wait=1", "wait": "2"}),
        (r'x="quoted \" and \\", wait=3', {"x": 'quoted " and \\', "wait": "3"}),
        ("wait=1, wait=2", {"wait": "1"}),
        ("foo; wait=9", {"foo": ""}),
        (", ,wait=4,", {"wait": "4"}),
        ("wait 10, =3, @, handling=lenient", {"handling": "lenient"}),
        ('x="never closed, wait=3', {}),
        ("", {}),
    ],
)
def test_preferences(header: str, told: dict[str, str]) -> None:
    assert prefer.preferences(header) == told


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("wait=0", 0.0), ("wait=30", 30.0), ("wait=31", 30.0), ("wait=999999999", 30.0)],
)
def test_a_wait_is_granted_up_to_the_most(header: str, seconds: float) -> None:
    found = prefer.wait(request(("prefer", header)))
    assert (found.seconds, found.preferred) == (seconds, True)
    assert found.headers == {"Preference-Applied": f"wait={seconds:.0f}"}


@pytest.mark.parametrize("header", ["wait=-1", "wait=1.5", "wait=x", "wait=", "wait", "wait=\u0661", "waits=3"])
def test_a_wait_that_is_none_is_not_applied(header: str) -> None:
    found = prefer.wait(request(("prefer", header.encode().decode("latin-1"))))
    assert found == prefer.Wait()
    assert found.headers == {}


def test_of_several_headers_the_first_wait_counts_and_the_address_before_all() -> None:
    asked = request(("prefer", "respond-async"), ("prefer", "wait=7"), ("prefer", "wait=8"))
    assert prefer.wait(asked).seconds == 7
    assert prefer.wait(asked, WaitQuery.model_validate({})).seconds == 7
    assert prefer.wait(asked, WaitQuery(wait=2)) == prefer.Wait(2, preferred=False)


@pytest.mark.parametrize(
    ("header", "key"),
    [("abc", "abc"), ('"abc"', "abc"), (r'"a\"b"', 'a"b'), ("a b", "a b"), ('ab"', 'ab"')],
)
def test_a_key_stands_in_quotes_or_not(header: str, key: str) -> None:
    asked = request(("idempotency-key", header))
    assert prefer.idempotency_key(asked, None) == key
    assert prefer.idempotency_key(asked, key) == key
    with pytest.raises(InvalidInput):
        prefer.idempotency_key(asked, f"{key}x")


def test_a_key_that_is_none_is_refused() -> None:
    assert prefer.idempotency_key(request(), "own") == "own"
    assert prefer.idempotency_key(request(), None) is None
    for header in ("", "é", "a\x00", "a\tb"):
        with pytest.raises(InvalidInput):
            prefer.idempotency_key(request(("idempotency-key", header)), None)
    with pytest.raises(InvalidInput):
        prefer.idempotency_key(request(("idempotency-key", "a"), ("idempotency-key", "a")), None)
