"""JSON and text on their way into the database: strict for what callers send, lenient for what went wrong.

Strict (``parse``, ``check``, ``dump``): what PostgreSQL or another reader could not take is refused, with a JSON
pointer to each problem. Lenient (``clean_text``, ``clean_fields``): the write that records a failure must not fail
because of its content, so anything becomes text that can be stored.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from jobrunner.errors import Problem
from jobrunner.queue import gate
from jobrunner.text import visible

KIB = 1024
PAYLOAD_MAX_BYTES = 256 * KIB
BODY_MAX_BYTES = 1024 * KIB
BATCH_MAX_BYTES = 4 * 1024 * KIB  # 1,000 tasks with 4 KiB each
RESULT_MAX_BYTES = 1024 * KIB
ERROR_MAX_BYTES = 16 * KIB
TRACEBACK_MAX_BYTES = 64 * KIB
MESSAGE_MAX_BYTES = 8 * KIB
FIELDS_MAX_BYTES = 16 * KIB
MAX_DEPTH = 32
BATCH_MAX_DEPTH = 100  # one task that is too deep is refused by itself; this guards the parser
BODY_MAX_DEPTH = MAX_DEPTH + 4  # a payload of full depth inside a request, or a list of requests

_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_DIGITS, _LONG_INTEGER = bytes.maketrans(b"123456789", b"0" * 9), b"0" * 19


def parse(data: bytes | str, *, max_bytes: int = BODY_MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Read JSON strictly. Raises InvalidInput.

    Refused: bad UTF-8, NaN and Infinity, numbers outside float and signed 64 bit, NUL and lone surrogates, keys given
    twice, nesting over ``max_depth``, anything after the document.
    """
    value = opened(data, max_bytes=max_bytes, max_depth=max_depth)
    look_into(value, max_depth=max_depth)
    return value


def opened(data: bytes | str, *, max_bytes: int, max_depth: int) -> Any:
    """Read JSON as far as its grammar goes; ``look_into`` has to follow, over the whole or part by part."""
    text = _decoded(data, max_bytes)
    if _deeper(text, max_depth):
        raise gate.refused([Problem("", f"nested deeper than {max_depth} levels")])
    try:
        return json.loads(
            text,
            parse_int=gate.integer,
            parse_float=gate.real,
            parse_constant=gate.Unfit,
            object_pairs_hook=gate.object_of,
        )
    except json.JSONDecodeError as error:
        raise gate.refused([Problem("", f"line {error.lineno}, column {error.colno}: {error.msg}")]) from None


def look_into(value: Any, *, max_depth: int = MAX_DEPTH) -> None:
    """Refuse what ``opened`` let pass: see ``parse``. Raises InvalidInput."""
    gate.inspect(value, max_bytes=None, max_depth=max_depth, at="")


def check(value: Any, *, max_bytes: int = PAYLOAD_MAX_BYTES, max_depth: int = MAX_DEPTH, at: str = "") -> None:
    """Put a Python value through the same gate as ``parse``. Raises InvalidInput; ``at`` leads every pointer.

    Types that JSON does not have and keys that are not text are refused; a tuple counts as an array.
    """
    dump(value, max_bytes=max_bytes, max_depth=max_depth, at=at)


def dump(value: Any, *, max_bytes: int = PAYLOAD_MAX_BYTES, max_depth: int = MAX_DEPTH, at: str = "") -> str:
    """Compact JSON text of ``value``, checked. Raises InvalidInput; ``max_bytes`` limits the text's UTF-8."""
    text, _ = _quick(value, max_bytes, max_depth)
    return text or _dumped(value, max_bytes, max_depth, at, sort_keys=False)


def canonical(value: Any, *, max_bytes: int = BODY_MAX_BYTES, max_depth: int = MAX_DEPTH) -> str:
    """Like ``dump`` with sorted keys: equal values give equal text, for hashing."""
    return _dumped(value, max_bytes, max_depth, "", sort_keys=True)


def payload(value: dict[str, Any]) -> tuple[str, bytes]:
    """``dump`` of a task's payload, and its ``canonical`` text in UTF-8."""
    text, ordered = _quick(value, PAYLOAD_MAX_BYTES, MAX_DEPTH)
    if text:
        return text, to_json(ordered)
    text = _dumped(value, PAYLOAD_MAX_BYTES, MAX_DEPTH, "", sort_keys=False)
    return text, canonical(value).encode()


def load(text: str) -> Any:
    """Read JSON that ``dump`` made and a database kept.

    jsonb keeps 1e300 as an integer of 301 digits, so integers outside signed 64 bit come back as the floats they were.
    """
    data = text.encode()
    # Asked so, it costs a tenth of a regular expression, which took as long as to read the whole of a small payload.
    if _LONG_INTEGER in data.translate(_DIGITS):
        return json.loads(text, parse_int=lambda token: _stored_integer(int(token)))
    return from_json(data)


def clean_text(text: object, limit: int) -> str:
    """``text`` (any object) as text that can be stored, in at most ``limit`` bytes of UTF-8. Never raises.

    NUL, lone surrogates and control characters but newline and tab are spelled out. Too long a text loses its middle,
    since an error tells most at its start and a traceback at its end; a note there says how much.
    """
    said = _said(text).replace("\r\n", "\n")
    if len(said) <= limit:
        whole = visible(said)
        if _size(whole) <= limit:
            return whole
    room = limit - len(_note(len(said)))
    if room < 0:
        return visible(said[: _fitting(said, limit, lambda count: said[:count])])
    head = _fitting(said, room // 2, lambda count: said[:count])
    tail = _fitting(said, room - room // 2, lambda count: said[len(said) - count :])
    cut = len(said) - head - tail
    return visible(said[:head]) + _note(cut) + visible(said[len(said) - tail :])


def clean_fields(fields: Mapping[Any, Any], *, max_bytes: int = FIELDS_MAX_BYTES) -> str:
    """The fields of a log line as JSON text of at most ``max_bytes``. Never raises.

    What JSON does not have becomes text, long texts lose their middle, and fields that find no more room are counted
    under the key ``cut``.
    """
    kept: dict[str, Any] = {}
    cut = 0
    room = max_bytes - len('{"cut":1000000000}')
    for key, value in fields.items():
        name = clean_text(key, 200)
        plain = _plain(value, 0, [500])
        needed = _size(_compact({name: plain}))
        if needed > room:
            plain = clean_text(value if isinstance(value, str) else _compact(plain), max(0, room // 4))
            needed = _size(_compact({name: plain}))
        if needed > room:
            cut += 1
            continue
        kept[name] = plain
        room -= needed
    return _compact(kept | {"cut": cut} if cut else kept)


def _plain(value: Any, depth: int, nodes: list[int]) -> Any:
    """``value`` as JSON has it. ``nodes`` is how many values may still be shown: a list may hold itself."""
    nodes[0] -= 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and gate.fits(value):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if depth < 8 and nodes[0] > 0 and isinstance(value, dict | list | tuple):
        if isinstance(value, dict):
            return {clean_text(key, 200): _plain(part, depth + 1, nodes) for key, part in value.items() if nodes[0] > 0}
        return [_plain(part, depth + 1, nodes) for part in value if nodes[0] > 0]
    if isinstance(value, dict | list | tuple):
        return f"<{type(value).__name__} of {len(value)}>"
    return clean_text(value, FIELDS_MAX_BYTES // 4)


def _said(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    try:
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001  # whatever __str__ does, the failure it belongs to must be recorded
        return f"<{type(value).__name__} whose text cannot be read>"


def _fitting(text: str, room: int, part: Callable[[int], str]) -> int:
    """The most characters of ``text`` whose visible ``part`` takes at most ``room`` bytes."""
    counts = range(min(len(text), room) + 1)
    return bisect_right(counts, room, key=lambda count: _size(visible(part(count)))) - 1


def _note(cut: int) -> str:
    return f"\n[{cut} characters cut]\n"


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_ENCODE_SORTED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def _compact(value: Any, *, sort_keys: bool = False) -> str:
    return _ENCODE_SORTED(value) if sort_keys else _ENCODE(value)


def _decoded(data: bytes | str, max_bytes: int) -> str:
    if len(data) > max_bytes or (isinstance(data, str) and not data.isascii() and _size(data) > max_bytes):
        raise gate.too_large(max_bytes)
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise gate.refused([Problem("", f"not UTF-8 at byte {error.start}")]) from None


def _deeper(text: str, max_depth: int) -> bool:
    """Whether brackets nest deeper, found before the parser could run out of stack."""
    if text.count("[") + text.count("{") <= max_depth:
        return False
    depth = 0
    for found in _BRACKETS.finditer(text):
        first = text[found.start()]
        if first in "[{":
            depth += 1
            if depth > max_depth:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _quick(value: Any, max_bytes: int, max_depth: int) -> tuple[str, Any]:
    """The text that ``_dumped`` would give, in a fifth of the time, and ``value`` with ordered keys; "" if in doubt."""
    ordered = gate.ordered(value, max_bytes, max_depth)
    if ordered is None:
        return "", None
    try:
        text = to_json(value)
    except ValueError:  # half a surrogate pair: the walk of _dumped says where
        return "", None
    return (text.decode(), ordered) if len(text) <= max_bytes and b"\\u0000" not in text else ("", None)


def _stored_integer(value: int) -> int | float:
    return value if gate.fits(value) else float(value)


def _dumped(value: Any, max_bytes: int, max_depth: int, at: str, *, sort_keys: bool) -> str:
    gate.inspect(value, max_bytes=max_bytes, max_depth=max_depth, at=at)
    text = _compact(value, sort_keys=sort_keys)
    if len(text) > max_bytes or (not text.isascii() and _size(text) > max_bytes):
        raise gate.too_large(max_bytes, at)
    return text
