"""Where a request comes from, and whether its Host is this server's."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.requests import Request

from jobrunner.api.problems import Refused
from jobrunner.settings import Settings
from jobrunner.settings.loopback import is_loopback

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]@/\\?#:\s]+)(?::\d{1,5})?")


def client_of(request: Request) -> IPv4Address | IPv6Address | None:
    """The caller's address; None behind a proxy, whose own address must open no door for whoever stands behind it."""
    if any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip")):
        return None
    return _address(request.client.host) if request.client else None


@lru_cache(maxsize=256)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def check_host(request: Request, settings: Settings) -> None:
    """A page elsewhere can point its own name at this address; then the browser sends that name as Host.

    Raises Refused with 421.
    """
    given = request.headers.getlist("host")  # of two, a proxy before us may have gone by the other
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    name = found[1].lower() if found else ""
    if name and (is_loopback(name) or name in [host.lower() for host in settings.trusted_hosts]):
        return
    if name and settings.allow_from and not settings.trusted_hosts and _cannot_be_foreign(name):
        return
    raise Refused(421, "wrong_host", "the Host of this request is not this server's; trusted_hosts can name it")


def suffix(request: Request) -> str:
    """What cookies of the path under which a proxy serves us are called besides: browsers send those of / as well."""
    return str(request.scope.get("root_path", "")).rstrip("/").replace("/", "_")


def port_in(request: Request) -> str:
    """The port in the request's Host, which is that of the address in a browser; empty where it names none."""
    port = request.headers.get("host", "").rpartition("]")[2].partition(":")[2]
    return port if re.fullmatch(r"[0-9]{1,5}", port) else ""


def _cannot_be_foreign(name: str) -> bool:
    """An address, or a name without a dot: nobody on the Internet can make a browser send either."""
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name
    return True


def from_this_site(request: Request) -> bool:
    """Whether a page of this server, or no page at all, made the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host', '')}"


def is_json(request: Request) -> bool:
    """Whether the request says that its body is JSON."""
    given = request.headers.getlist("content-type")
    kind = given[0].partition(";")[0].strip().lower() if len(given) == 1 else ""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
