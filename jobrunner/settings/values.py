"""The kinds of values that settings take: how each is read from text or JSON, and what it refuses."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from jobrunner.text import NAME_MAX, has_controls

Network = IPv4Network | IPv6Network

MIN_KEY_LENGTH = 8
LONGEST = 366 * 86_400  # seconds


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _parts(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _upper(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = value.strip().upper()
    return {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(name, name)


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text.strip()


def _name(text: str | None) -> str | None:
    if text is not None and (has_controls(text) or len(text) > NAME_MAX):
        raise ValueError(f"must have at most {NAME_MAX} characters, and no control characters")
    return text


def _queues(names: tuple[str, ...]) -> tuple[str, ...]:
    """None that no queue can have: a worker would wait for its tasks for ever."""
    for name in names:
        if not 1 <= len(name) <= NAME_MAX or has_controls(name) or "/" in name or name in (".", ".."):
            raise ValueError(
                f"no queue is called {name!r}: a name has 1 to {NAME_MAX} characters, no control characters and no "
                "'/', and is not '.' or '..'"
            )
    return names


def _networks(value: Any) -> Any:
    parts = _parts(value)
    if not isinstance(parts, list | tuple):
        return parts
    return tuple(part if isinstance(part, Network) else _network(part) for part in parts)


def _network(text: Any) -> Network:
    if not isinstance(text, str):
        raise ValueError(f'{text!r} is not a network; write it as text, such as "10.0.0.0/8"')
    try:
        return ip_network(text.strip())
    except ValueError:
        pass  # said below, with what was probably meant
    try:
        meant = ip_interface(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is neither a network (10.0.0.0/8) nor an address (10.0.0.7)") from None
    raise ValueError(f"{text!r} names an address inside a network: write {meant.network} or {meant.ip}")


def _root_path(text: str) -> str:
    """A path with a slash before and none behind it; empty for the root of a host."""
    path = text.strip().strip("/")
    if not path:
        return ""
    if not all(re.fullmatch(r"[A-Za-z0-9._~-]+", part) and part.strip(".") for part in path.split("/")):
        raise ValueError("write the path alone, such as /tasks: parts of letters, digits and . _ ~ - with / between")
    return f"/{path}"


def _api_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value().strip()
    if len(text) < MIN_KEY_LENGTH:
        raise ValueError(f"must have at least {MIN_KEY_LENGTH} characters")
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("must be printable ASCII without spaces, since it travels in an HTTP header")
    return SecretStr(text)


def _database_url(url: str) -> str:
    url = url.strip()
    if not url:
        return ""
    scheme, found, rest = url.partition("://")
    scheme = scheme.lower()
    if found and scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{_several_hosts(rest)}"
    if found and scheme == "sqlite":
        path = rest.removeprefix("/")
        if not rest.startswith("/") or not path or path.startswith(":"):
            raise ValueError("SQLite needs a file: sqlite:///path")
        return sqlite_url(Path(path))
    raise ValueError("must start with postgresql://, postgres:// or sqlite:///")


def _several_hosts(rest: str) -> str:
    """``user@one:1,two:2/name`` is how libpq names several servers; SQLAlchemy wants each as ``host=`` at the end."""
    netloc, _, tail = rest.partition("/")
    user, at, hosts = netloc.rpartition("@")
    ports = _ports(hosts.partition("?")[0], rest.partition("?")[2])
    if not all(port.isascii() and port.isdigit() and 0 < int(port) <= 65_535 for port in ports if port):
        raise ValueError("its port is not a number from 1 to 65535; in a password / is written %2F, and : %3A")
    if "," not in hosts:
        return rest
    name, _, query = tail.partition("?")
    told = [*(f"host={host}" for host in hosts.split(",")), *([query] if query else [])]
    return f"{user}{at}/{name}?{'&'.join(told)}"


def _ports(hosts: str, query: str) -> list[str]:
    """What stands where a port does: behind a host, also in ``?host=``, and in ``?port=``."""
    found = [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",")]
    for key, _, value in (pair.partition("=") for pair in query.split("&")):
        for one in unquote(value).split(","):
            if key == "port":
                found.append(one)
            elif key == "host" and one.count(":") == 1 and not one.startswith("/"):  # of more it is an IPv6 address
                found.append(one.partition(":")[2])
    return found


def sqlite_url(path: Path) -> str:
    """The database URL of a SQLite file."""
    return f"sqlite:///{_absolute(path).as_posix()}"


Count = Annotated[int, BeforeValidator(_number), Field(ge=1, le=2**31 - 1)]
Megabytes = Count
Percent = Annotated[float, BeforeValidator(_number), Field(gt=0, le=100)]
Port = Annotated[int, BeforeValidator(_number), Field(ge=0, le=65_535)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Grace = Annotated[float, BeforeValidator(_number), Field(ge=0, le=LONGEST, allow_inf_nan=False)]
Lease = Annotated[float, BeforeValidator(_number), Field(ge=1, le=LONGEST, allow_inf_nan=False)]
Days = Annotated[float, BeforeValidator(_number), Field(gt=0, le=36_500, allow_inf_nan=False)]
Words = Annotated[tuple[str, ...], BeforeValidator(_parts)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
Filled = Annotated[str, AfterValidator(_filled)]
QueueNames = Annotated[tuple[str, ...], BeforeValidator(_parts), AfterValidator(_queues)]
OptionalName = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_name)]
OptionalText = Annotated[str | None, BeforeValidator(_none_if_empty)]
Folder = Annotated[Path, AfterValidator(_absolute)]
OptionalPath = Annotated[Annotated[Path, AfterValidator(_absolute)] | None, BeforeValidator(_none_if_empty)]
Key = Annotated[Annotated[SecretStr, AfterValidator(_api_key)] | None, BeforeValidator(_none_if_empty)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
RootPath = Annotated[str, AfterValidator(_root_path)]
Upper = BeforeValidator(_upper)
