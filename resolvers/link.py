"""Links that end: whoever has one may fetch what it names; who may have one is decided where it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from resolvers.shelf import Shelf

LIFE = timedelta(minutes=10)


class Link(NamedTuple):
    """Where a thing can be fetched, below the gateway's address, and until when."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Links:
    """Links to what has its id behind `prefix`. `name` keeps their signatures apart from all others."""

    prefix: str
    name: str

    def to(self, shelf: Shelf, id: str) -> Link:
        """A new one. Raises Invalid without a key to sign it with."""
        expires_at = (shelf.clock() + LIFE).replace(microsecond=0)
        expires = int(expires_at.timestamp())
        signature = shelf.ring.sign(self.name, _text(id, expires))
        return Link(f"{self.prefix}{id}?expires={expires}&signature={signature}", expires_at)

    def good(self, shelf: Shelf, id: str, expires: str, signature: str) -> bool:
        """Whether it is one of ours and has not ended."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12 and signature.isascii()):
            return False
        # The signature first: the clock says nothing to who has none.
        signed = shelf.ring.signed(self.name, _text(id, int(expires)), signature)
        return signed and shelf.clock().timestamp() < int(expires)


def _text(id: str, expires: int) -> str:
    return f"{id}\n{expires}"
