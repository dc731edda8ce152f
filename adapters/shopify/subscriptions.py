"""What a shop tells us of, and where to. A subscription that fails for four hours is deleted by the platform, in silence.

Sources: webhookSubscriptions, webhookSubscriptionCreate, webhookSubscriptionUpdate. The three topics of privacy are set in the
application itself and are not subscribed to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.notices import Finding
from adapters.shopify.client import ShopClient
from adapters.shopify.document import PAGE, PAGE_INFO, Document
from adapters.shopify.paging import answered, beyond
from adapters.shopify.wire import Connection
from adapters.wire import Wire
from domain.budget import Ask
from domain.errors import Invalid, Refused

SUBSCRIPTIONS = Document(
    "Subscriptions",
    "webhookSubscriptions",
    13,
    f"""query Subscriptions($after: String) {{
  webhookSubscriptions(first: {PAGE}, after: $after) {{
    nodes {{ id topic uri format includeFields filter }}
    {PAGE_INFO}
  }}
}}""",
)

SUBSCRIBE = Document(
    "Subscribe",
    "webhookSubscriptionCreate",
    10,
    """mutation Subscribe($topic: WebhookSubscriptionTopic!, $wanted: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $wanted) {
    webhookSubscription { id }
    userErrors { field message }
  }
}""",
    write=True,
)

RESUBSCRIBE = Document(
    "Resubscribe",
    "webhookSubscriptionUpdate",
    10,
    """mutation Resubscribe($id: ID!, $wanted: WebhookSubscriptionInput!) {
  webhookSubscriptionUpdate(id: $id, webhookSubscription: $wanted) {
    webhookSubscription { id }
    userErrors { field message }
  }
}""",
    write=True,
)

_THING = ("id", "updated_at")
_OF_ORDER = ("id", "order_id", "updated_at")
_LEVEL = ("inventory_item_id", "location_id", "updated_at")
FIELDS: Mapping[str, Sequence[str]] = {
    "APP_SCOPES_UPDATE": (),
    "APP_UNINSTALLED": _THING,
    "FULFILLMENTS_CREATE": _OF_ORDER,
    "FULFILLMENTS_UPDATE": _OF_ORDER,
    "FULFILLMENT_ORDERS_CANCELLED": (),
    "FULFILLMENT_ORDERS_HOLD_RELEASED": (),
    "FULFILLMENT_ORDERS_MOVED": (),
    "FULFILLMENT_ORDERS_PLACED_ON_HOLD": (),
    "FULFILLMENT_ORDERS_SPLIT": (),
    "INVENTORY_ITEMS_UPDATE": _THING,
    "INVENTORY_LEVELS_CONNECT": _LEVEL,
    "INVENTORY_LEVELS_DISCONNECT": ("inventory_item_id", "location_id"),
    "INVENTORY_LEVELS_UPDATE": _LEVEL,
    "ORDERS_CANCELLED": _THING,
    "ORDERS_CREATE": _THING,
    "ORDERS_UPDATED": _THING,
    "PRODUCTS_CREATE": _THING,
    "PRODUCTS_DELETE": ("id",),
    "PRODUCTS_UPDATE": _THING,
    "REFUNDS_CREATE": ("id", "order_id", "created_at"),
    "SHOP_UPDATE": _THING,
}
"""The topics that say something to us, and all that is to stand in their bodies: nothing of buyers comes near us. Bodies of
fulfillment orders are ids and states, differently put together in each topic, and are taken whole."""


class _Subscription(Wire):
    id: str
    topic: str
    uri: str
    format: str
    include_fields: list[str]
    filter: str | None


async def go() -> None:
    """What is sent here may be sent again: it is read back, and the platform refuses a second of the same."""


@dataclass(slots=True)
class Desk:
    """The subscriptions of one shop to `topics`, sent to `uri`."""

    client: ShopClient
    uri: str
    topics: Sequence[str]

    async def wrong(self, ask: Ask) -> list[str]:
        """What is not as wanted and could not be set right, in words for people."""
        return [
            f"{one.what}: {one.wrong}" for one in await self.ensure(ask, apply=True) if one.wrong and not one.mended
        ]

    async def ensure(self, ask: Ask, *, apply: bool) -> list[Finding]:
        """Look at each topic, and with `apply` subscribe to it, or set right what goes to our address in another form. Others,
        and what goes elsewhere, are left alone. What the shop refuses of one topic is told with it."""
        there: dict[str, _Subscription] = {}
        for one in await self._there(ask):
            if one.uri == self.uri and (one.topic not in there or _fault(one) is None):
                there[one.topic] = one
        return [await self._subscribe(topic, there.get(topic), ask, apply=apply) for topic in self.topics]

    async def _there(self, ask: Ask) -> list[_Subscription]:
        found: list[_Subscription] = []
        after: str | None = None
        while True:
            reply = await self.client.run(SUBSCRIPTIONS, {"after": after}, ask)
            page = answered(Connection[_Subscription], reply.data["webhookSubscriptions"])
            found += page.nodes
            if not page.page_info.has_next_page:
                return found
            after = beyond(after, page.page_info)

    async def _subscribe(self, topic: str, there: _Subscription | None, ask: Ask, *, apply: bool) -> Finding:
        wrong = "it is not subscribed" if there is None else _fault(there)
        if wrong is None or not apply:
            return Finding(topic, wrong)
        wanted = {"uri": self.uri, "format": "JSON", "includeFields": list(FIELDS[topic]), "filter": None}
        try:
            if there is None:
                await self.client.run(SUBSCRIBE, {"topic": topic, "wanted": wanted}, ask, go)
            else:
                await self.client.run(RESUBSCRIBE, {"id": there.id, "wanted": wanted}, ask, go)
        except Refused as problem:
            return Finding(topic, f"{wrong}, and the shop refuses it: {problem.message}")
        return Finding(topic, wrong, mended=True)


def wanted(topics: Sequence[str]) -> tuple[str, ...]:
    """Those of `topics`, or all that say something to us. Raises Invalid for another."""
    for one in topics:
        if one not in FIELDS:
            raise Invalid(f"{one} is no topic that we make use of; there are {', '.join(FIELDS)}.")
    return tuple(topics) or tuple(FIELDS)


def _fault(there: _Subscription) -> str | None:
    if there.format != "JSON":
        return f"it is sent as {there.format}"
    if there.filter:
        return "it is filtered"
    if set(there.include_fields) != set(FIELDS[there.topic]):
        return "it tells of other fields than those that we read"
    return None
