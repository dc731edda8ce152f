"""An API destination of EventBridge brings us Amazon's notifications. It repeats what was not answered with 200, for a day."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.amazon.hints import Account, understood
from adapters.notices import Delivery, Kept, NewSecret
from domain.product import Rejected


@dataclass(frozen=True, slots=True)
class AmazonWebhook:
    """What opens the webhook of a channel, the newest key first, and the accounts that it may tell of."""

    keys: tuple[bytes, ...] = field(repr=False)
    accounts: tuple[Account, ...]
    # EventBridge sends no event that is larger.
    limit: int = 256 * 1024

    def expected(self, headers: Mapping[str, str]) -> bool:
        """The key stands in a header, so all is known before the body is read."""
        given = headers.get("x-api-key", "").encode("latin-1", "replace")
        return any([hmac.compare_digest(given, key) for key in self.keys])  # noqa: C419  all of them, whichever is right

    def proven(self, delivery: Delivery) -> bool:
        """By its key alone: an event may wait for a day."""
        return self.expected(delivery.headers)

    def understood(self, delivery: Delivery) -> Sequence[Kept]:
        """What the notification says."""
        told = understood(self.accounts, delivery.body)
        if isinstance(told, NewSecret):
            # Amazon sends it to a queue. Whoever knows this key may make us ask, and not put a secret in the place of ours.
            return [Rejected(told.channel, "secret", told.client_id, "A new secret comes by the queue alone.", "")]
        return [] if told is None else [told]
