"""The address of a node as people write it: ``host:8900``, ``name=host:8900``, a URL, or an object in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr

NODE_PORT = 8900
LONGEST_HOST = 253  # characters, as DNS has it
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_WRITTEN = re.compile(
    r"(?:(?P<name>[^=\s/]+)=)?(?:(?P<scheme>https?)://)?(?P<host>\[[^\]]*\]|[^:/\[\]]+)(?::(?P<port>\d+))?/?"
)
_KEYS = frozenset({"node_id", "host", "port", "api_key", "https"})


@dataclass(frozen=True)
class NodeAddress:
    """Where a node answers; ``node_id`` is its user's name for it. Raises ValueError for what leads nowhere."""

    node_id: str
    host: str
    port: int = NODE_PORT
    api_key: SecretStr | None = None
    https: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.node_id, str) or not self.node_id.strip():
            raise ValueError(f"a node's id is a text, not {self.node_id!r}")
        check_host(self.host)
        if isinstance(self.port, bool) or not isinstance(self.port, int) or not 1 <= self.port <= 65_535:
            raise ValueError(f"a port is a whole number from 1 to 65535, not {self.port!r}")
        if self.api_key is not None and not re.fullmatch(r"[\x21-\x7e]+", self.api_key.get_secret_value()):
            raise ValueError("an api_key is printable ASCII without spaces, since it travels in an HTTP header")

    @property
    def url(self) -> str:
        """Without a slash at the end; an IPv6 address stands in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.https else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.node_id}={self.url}"


def check_host(host: Any) -> None:
    """Refuse what is neither an IP address nor a host name, with a ValueError that says what to write."""
    if not isinstance(host, str) or not host:
        raise ValueError(f"a host is a name or an address, not {host!r}")
    bare = host.strip("[]")
    try:
        address = ip_address(bare)
    except ValueError:
        address = None
    if bare != host:
        raise ValueError(f"write the address {bare} without brackets, not {host!r}")
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(f"{host!r} has a zone, which means nothing on other machines: give an address without one")
    if address is not None:
        return
    if re.match(r"[a-z]+://", host):
        raise ValueError(f"give host and port apart, and no URL: not {host!r}")
    if ":" in host:
        raise ValueError(f"give host and port apart: {host!r} is neither a name nor an address")
    if not host.isascii():
        raise ValueError(f"write the host in ASCII, as DNS has it (xn--...): not {host!r}")
    if len(host) > LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in host.rstrip(".").split(".")):
        raise ValueError(f"{host!r} is no host name and no address")


def parse_node(value: Any) -> NodeAddress:
    """An address from a text or an object; raises ValueError."""
    if isinstance(value, NodeAddress):
        return value
    if isinstance(value, dict):
        return _from_object(value)
    found = _WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no node; write it like worker1=10.0.0.7:8900, [::1]:8900 or https://host:8900")
    host, port = found["host"].removeprefix("[").removesuffix("]"), int(found["port"] or NODE_PORT)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return NodeAddress(found["name"] or shown, host, port, https=found["scheme"] == "https")


def _from_object(value: dict[str, Any]) -> NodeAddress:
    unknown = sorted(set(value) - _KEYS)
    if unknown or "host" not in value:
        told = f"unknown key {', '.join(unknown)}" if unknown else "no host"
        raise ValueError(f"a node has {told}; it takes {', '.join(sorted(_KEYS))}")
    host, port, key = value["host"], value.get("port", NODE_PORT), value.get("api_key")
    if key is not None and not isinstance(key, str):
        raise ValueError("a node's api_key is a text or null")
    if not isinstance(value.get("https", False), bool):
        raise ValueError("a node's https is true or false")
    name = value.get("node_id") or f"{host}:{port}"
    return NodeAddress(name, host, port, SecretStr(key) if key else None, value.get("https", False))


def _nodes(value: Any) -> Any:
    if isinstance(value, str):
        value = [part for part in (part.strip() for part in value.split(",")) if part]
    if not isinstance(value, list | tuple):
        raise ValueError("nodes are a list; in the environment with commas between them")
    found = tuple(parse_node(part) for part in value)
    names = [node.node_id for node in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is given twice")
    return found


Nodes = Annotated[tuple[NodeAddress, ...], BeforeValidator(_nodes)]
