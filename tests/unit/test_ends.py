"""Who waits for which tasks, as one process remembers it."""

from __future__ import annotations

import time
from collections.abc import Collection

import pytest

from jobrunner.db import ends as module
from jobrunner.db.ends import Ends
from jobrunner.db.notes import ENDED, LONGEST, WATCH, WORK, _payloads, ids_of


class Others:
    """What was told to all other processes."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[str]]] = []

    def tell(self, topic: str, task_ids: Collection[str] = ()) -> None:
        self.told.append((topic, list(task_ids)))


def test_nobody_is_told_of_what_nobody_waits_for() -> None:
    others = Others()
    ends = Ends(others.tell)
    assert not ends.watched
    ends.ended(["a"])
    assert others.told == []


def test_who_waits_elsewhere_is_told_once() -> None:
    others = Others()
    ends = Ends(others.tell)
    assert ends.heard(f"{WATCH}\na\nb b")
    assert ends.watched
    ends.ended(["a", "c"])
    ends.ended(["a", "b b"])
    assert others.told == [(ENDED, ["a"]), (ENDED, ["b b"])]
    assert not ends.watched


def test_who_waits_here_is_told_of_ends_here_and_elsewhere_and_others_of_the_wait() -> None:
    others, told = Others(), list[str]()
    ends = Ends(others.tell)
    ends.wait(["a", "b"], told.append)
    assert others.told == [(WATCH, ["a", "b"])]
    ends.ended(["a"])
    assert ends.heard(f"{ENDED}\nb\nc")
    assert told == ["a", "b"]
    assert ends.watched
    ends.wait_no_more(["a", "b"], told.append)
    ends.ended(["a"])
    assert told == ["a", "b"]
    assert not ends.watched
    assert len(others.told) == 1


def test_two_who_wait_for_one_task_are_both_told() -> None:
    one, two = list[str](), list[str]()
    ends = Ends(Others().tell)
    ends.wait(["a"], one.append)
    ends.wait(["a"], two.append)
    ends.ended(["a"])
    ends.wait_no_more(["a"], one.append)
    assert ends.watched
    ends.ended(["a"])
    assert (one, two) == (["a"], ["a", "a"])


def test_a_process_that_does_not_hear_who_waits_tells_all() -> None:
    others = Others()
    Ends(others.tell, hears=False).ended(["a"])
    assert others.told == [(ENDED, ["a"])]


def test_what_was_announced_long_ago_is_forgotten_unless_it_was_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    others, now = Others(), [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ends = Ends(others.tell)
    ends.heard(f"{WATCH}\nold\nrenewed")
    now[0] += module.REMEMBERED * 0.6
    ends.heard(f"{WATCH}\nrenewed")
    now[0] += module.REMEMBERED * 0.6
    ends.ended(["other"])
    ends.ended(["old", "renewed"])
    assert others.told == [(ENDED, ["renewed"])]
    assert module.RENEW < module.REMEMBERED / 2, "one announcement may be lost"


def test_of_too_many_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    others = Others()
    ends = Ends(others.tell)
    ends.heard(f"{WATCH}\na\nb\nc\nd")
    ends.heard(f"{WATCH}\nb\ne")
    ends.ended(["a", "b", "c", "d", "e"])
    assert others.told == [(ENDED, ["b", "d", "e"])]


def test_other_hints_are_left_to_others() -> None:
    assert not Ends(Others().tell).heard(WORK)


@pytest.mark.parametrize("length", [1, 36, 200])
def test_many_ids_make_payloads_that_the_server_takes(length: int) -> None:
    ids = [f"{number:0>{length}}".replace("0", "零") for number in range(1_000)]
    payloads = list(_payloads(WATCH, ids))
    told = [ids_of(payload) for payload in payloads]
    assert {topic for topic, _ in told} == {WATCH}
    assert [task_id for _, some in told for task_id in some] == ids
    sizes = [len(payload.encode()) for payload in payloads]
    assert max(sizes) <= LONGEST
    following = [len(some[0].encode()) + 1 for _, some in told[1:]]
    assert all(size + more > LONGEST for size, more in zip(sizes[:-1], following, strict=True)), "one had room for more"
