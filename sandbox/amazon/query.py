"""Query strings as the platform reads them, and its paging tokens."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from sandbox.amazon.errors import Failure, invalid

_SEAL = b"a page token is opaque: nobody builds one by hand"


# What clients of many add to every call, whatever it is; Amazon leaves these aside where the operation does not know them.
ADDED = frozenset({"MarketplaceId", "MarketplaceIds", "marketplace_ids", "marketplaceIds"})


class Query:
    """The parameters of one request. A repeated or unknown one is refused with 400, but for those that clients add to all."""

    def __init__(self, raw: str, allowed: Iterable[str], code: str = "InvalidInput") -> None:
        self._code = code
        self._raw: dict[str, str] = {}
        known = set(allowed)
        for part in filter(None, raw.split("&")):
            name, _, value = part.partition("=")
            name = unquote_plus(name)
            if name in ADDED and name not in known:
                continue
            if name not in known:
                raise self.wrong(f"Unknown query parameter '{name}'.")
            if name in self._raw:
                raise self.wrong(f"'{name}' is given twice; lists are separated by commas.")
            self._raw[name] = value

    def wrong(self, details: str) -> Failure:
        return invalid(details, self._code, "Invalid Input" if self._code == "InvalidInput" else "Invalid input")

    def has(self, name: str) -> bool:
        return name in self._raw

    def text(self, name: str) -> str | None:
        """The decoded value; None when it is absent or empty."""
        return unquote_plus(self._raw.get(name, "")) or None

    def needed(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise self.wrong(f"'{name}' is required.")
        return value

    def csv(self, name: str, most: int = 0, among: Iterable[str] = ()) -> list[str]:
        """The items of a list, each decoded by itself; at most `most`, and only those in `among` where given."""
        raw = self._raw.get(name, "")
        # Items are encoded one by one, so that an item may hold a comma. Most clients encode the joined list instead,
        # commas included, and that works too.
        items = [unquote_plus(item) for item in raw.split(",")] if "," in raw else unquote_plus(raw).split(",")
        if items == [""]:
            return []
        if not all(items):
            raise self.wrong(f"'{name}' holds an empty item.")
        if most and len(items) > most:
            raise self.wrong(f"'{name}' may hold {most} items at most; {len(items)} were given.")
        permitted = set(among)
        if permitted and (strange := [item for item in items if item not in permitted]):
            raise self.wrong(f"'{strange[0]}' is not a value of '{name}'.")
        return items

    def one_of(self, name: str, values: Iterable[str], default: str | None = None) -> str | None:
        value = self.text(name)
        if value is None:
            return default
        if value not in values:
            raise self.wrong(f"'{value}' is not a value of '{name}'.")
        return value

    def count(self, name: str, low: int, high: int, default: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise self.wrong(f"'{name}' must be a whole number between {low} and {high}.")
        return int(value)

    def instant(self, name: str) -> datetime | None:
        """An ISO 8601 time as aware UTC; without a zone it is taken as UTC."""
        value = self.text(name)
        if value is None:
            return None
        at = instant(value)
        if at is None:
            raise self.wrong(f"'{name}' is not in ISO 8601 format.")
        return at

    def digest(self, without: Iterable[str]) -> str:
        """The same for the same parameters, `without` left aside: what a paging token is bound to."""
        left_out = set(without)
        kept = sorted((name, unquote_plus(value)) for name, value in self._raw.items() if name not in left_out)
        return hashlib.sha256(repr(kept).encode()).hexdigest()[:16]


def instant(text: str) -> datetime | None:
    """An ISO 8601 time as aware UTC, or None when it is no such thing."""
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def seal(contents: dict[str, Any]) -> str:
    """An opaque token. Standard base64 on purpose: with + / = in it, it must be encoded in a URL."""
    body = json.dumps(contents, separators=(",", ":")).encode()
    return base64.b64encode(_mark(body) + body).decode()


def unseal(token: str) -> dict[str, Any] | None:
    """What was sealed, or None for anything that was not sealed here."""
    try:
        raw = base64.b64decode(token, validate=True)
    except ValueError:
        return None
    mark, body = raw[:8], raw[8:]
    if not hmac.compare_digest(mark, _mark(body)):
        return None
    contents: dict[str, Any] = json.loads(body)
    return contents


def _mark(body: bytes) -> bytes:
    return hmac.digest(_SEAL, body, "sha256")[:8]
