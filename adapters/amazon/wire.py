"""What Amazon's JSON has of its own."""

from __future__ import annotations

import json

from pydantic import AwareDatetime, NonNegativeInt

from adapters.wire import Unclear, Wire
from domain.ids import ChannelId
from domain.product import Rejected

# What a buyer wrote or ordered to be made, wherever it stands: not ours to keep, not even in quarantine.
PRIVATE = frozenset({"buyer", "recipient", "giftMessage", "customization", "cancelReason"})


Count = NonNegativeInt
Instant = AwareDatetime


class Pagination(Wire):
    """Missing, null and empty tokens all mean the last page."""

    next_token: str | None = None


def rejected(channel: ChannelId, what: str, key_field: str, raw: object, problem: Unclear) -> Rejected:
    """`raw` for the quarantine, by what stands in its `key_field`; without what belongs to the buyer."""
    key = raw.get(key_field) if isinstance(raw, dict) else None
    return Rejected(
        channel, what, str(key or "?"), str(problem), json.dumps(_public(raw), default=str, ensure_ascii=False)
    )


def _public(raw: object) -> object:
    if isinstance(raw, dict):
        return {name: _public(value) for name, value in raw.items() if name not in PRIVATE}
    if isinstance(raw, list):
        return [_public(value) for value in raw]
    return raw
