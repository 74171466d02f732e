"""What ``jobrunner nodes test`` finds: how one node says that it is, and whether it answers to this machine."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2

from jobrunner.client.checkup import Finding, fail, ok, warn
from jobrunner.client.checkup_here import probe, said
from jobrunner.client.trust import TRUST, distrusted, refused_for
from jobrunner.settings.loopback import leads_here

_START = "start it again; what it ran is given to others: jobrunner worker"


def node(told: dict[str, Any]) -> Iterator[Finding]:
    """The findings about a node that a desk told of."""
    yield _heartbeat(told)
    if told["alive"]:
        yield _state(told)
        yield _types(told)
        yield _address(told)


def _heartbeat(told: dict[str, Any]) -> Finding:
    if told["stopped_at"] is not None:
        reason = f": {told['reason']}" if told["reason"] else ""
        return fail("heartbeat", f"it ended in good order at {told['stopped_at']}{reason}", _START)
    if not told["alive"]:
        return fail("heartbeat", f"it fell silent; the last one came at {told['heartbeat_at']}", _START)
    return ok("heartbeat", f"the last one came at {told['heartbeat_at']}, they come each {_interval(told)}")


def _interval(told: dict[str, Any]) -> str:
    return f"{told['heartbeat_interval']:g} s"


def _state(told: dict[str, Any]) -> Finding:
    busy = f"{told['running']} of {told['slots']} slots are busy"
    if told["stuck"]:
        detail = f"{told['stuck']} of {told['slots']} slots are taken by functions that ignore their time-out"
        finding = fail if told["stuck"] >= told["slots"] else warn
        return finding("state", detail, f"jobrunner nodes drain {told['id']}, then start it again")
    if told["state"] == "draining" or told["drain_requested_at"] is not None:
        return fail("state", f"it begins nothing new; {busy}", f"jobrunner nodes resume {told['id']}")
    if told["state"] != "active":
        reason = f": {told['reason']}" if told["reason"] else ""
        return warn("state", f"{told['state']}{reason}; {busy}", "wait until its machine has room, or raise its limits")
    return ok("state", busy)


def _types(told: dict[str, Any]) -> Finding:
    if not told["types"]:
        return fail("task types", "it knows none, so it runs nothing", "start it with --handlers PKG.MODULE")
    return ok("task types", f"it runs {', '.join(told['types'])}")


def _address(told: dict[str, Any]) -> Finding:
    """Whether it answers over HTTP. Its tasks come by the database, so a port that is closed holds up none."""
    if told["address"] is None:
        return ok("address", "it opened no port; its tasks come by the database")
    url = _from_here(told)
    begun = time.monotonic()
    try:
        answer = said(probe(url, f"/healthz?{urlencode({'node': told['id']})}", trusted=True))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        return _unheard(url, error)
    took = time.monotonic() - begun
    if answer is None:
        return warn("address", f"what answers at {url} is no jobrunner", "look at what took its port")
    if answer.get("is_node") is None:
        return warn("address", f"who answers at {url} does not say which node he is", "an older version: upgrade it")
    if not answer["is_node"]:
        return warn("address", f"another jobrunner answers at {url}", "give each a port of its own: --port")
    return ok("address", f"it answers at {url} in {1_000 * took:.0f} ms")


def _unheard(url: str, error: Exception) -> Finding:
    why = str(error) or type(error).__name__
    certificate = refused_for(error)
    if certificate is not None:
        fix = TRUST if distrusted(error) else "give it a certificate that holds now, for this name or address"
        return warn("address", f"who answers at {url} is not trusted here: {certificate}", fix)
    return warn(
        "address",
        f"nobody answers at {url}: {why}; its tasks come by the database all the same",
        "a firewall, or a node that listens to its own machine alone: see host in its settings",
    )


def _from_here(told: dict[str, Any]) -> str:
    """Its address; on another machine that of its host, since a loopback, or all networks, leads nowhere from here."""
    address = str(told["address"])
    if not leads_here(address) or told["host"] == socket.gethostname():
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{told['host']}:{parts.port}"
