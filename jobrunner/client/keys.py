"""Keys and the audit, as a desk has them; and how they are asked for over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from jobrunner.client.asking import OverRest, part

Answer = dict[str, Any]

_MADE = ("id", "key")


class KeyDesk(Protocol):
    """What can be asked about keys. Over REST it takes a key with the scope admin."""

    def keys(self) -> Answer:
        """All ``keys`` that were ever made, the newest first, without their texts."""
        ...

    def create_key(self, wish: Mapping[str, Any]) -> Answer:
        """Make a key from ``name``, ``scopes``, ``queues``, ``expires_in`` (seconds) and ``rate``; ``key`` is its text.

        Nobody can tell the text again.
        """
        ...

    def rotate_key(self, key_id: str, overlap: float) -> Answer:
        """Make a key that may do the same; the old one goes on for ``overlap`` seconds."""
        ...

    def revoke_key(self, key_id: str) -> None:
        """End a key."""
        ...

    def audit(self, *, limit: int = 50, cursor: str | None = None) -> Answer:
        """A page of ``changes``, the newest first, and the ``next_cursor``."""
        ...


class RemoteKeys:
    """The same over REST."""

    def keys(self: OverRest) -> Answer:
        return self.call("GET", "/api/v1/keys", needed=("keys",))

    def create_key(self: OverRest, wish: Mapping[str, Any]) -> Answer:
        return self.call("POST", "/api/v1/keys", body=wish, needed=_MADE)

    def rotate_key(self: OverRest, key_id: str, overlap: float) -> Answer:
        return self.call("POST", f"/api/v1/keys/{part(key_id)}/rotate", body={"overlap": overlap}, needed=_MADE)

    def revoke_key(self: OverRest, key_id: str) -> None:
        self.call("DELETE", f"/api/v1/keys/{part(key_id)}", needed=None)

    def audit(self: OverRest, *, limit: int = 50, cursor: str | None = None) -> Answer:
        return self.call("GET", "/api/v1/audit", {"limit": limit, "cursor": cursor}, needed=("changes", "next_cursor"))
