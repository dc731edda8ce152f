"""Subscriptions to webhooks: webhookSubscriptionCreate, Update and Delete, and how they are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from sandbox.shopify import errors, ids
from sandbox.shopify.call import Call, Info, Resolvers
from sandbox.shopify.paging import Connection, page
from sandbox.shopify.state import Shop
from sandbox.shopify.webhooks import Subscription, Travel

# The shop's own machine is not reached from outside; only a sandbox sends there.
LOOPBACK = ("127.0.0.1", "localhost")
_ADDRESS = ("webhookSubscription", "callbackUrl")
_NONE = "Webhook subscription does not exist"


def subscription_by_id(call: Call, given: str) -> Subscription | None:
    return call.shop.webhooks.subscriptions.get(ids.place("WebhookSubscription", given))


def _one(_: Any, info: Info, id: str) -> Subscription | None:
    return subscription_by_id(info.context, id)


def _all(_: Any, info: Info, **args: Any) -> Connection:
    there = info.context.shop.webhooks.subscriptions

    def wanted(place: int) -> bool:
        one = there[place]
        return (
            (args.get("topics") is None or one.topic in args["topics"])
            and args.get("uri") in (None, one.uri)
            and args.get("format") in (None, one.format)
        )

    return page(sorted(there), args, there.__getitem__, wanted)


def _create(_: Any, info: Info, topic: str, webhookSubscription: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
    shop, given = info.context.shop, webhookSubscription
    values = {
        "topic": topic,
        "uri": given.get("uri") or "",
        "format": given.get("format") or "JSON",
        "include_fields": list(given.get("includeFields") or ()),
        "filter": given.get("filter"),
        "name": given.get("name"),
        "metafield_namespaces": list(given.get("metafieldNamespaces") or ()),
    }
    problem = _problem(shop, values, None)
    if problem is not None:
        return _refused(_ADDRESS, problem)
    return {"webhookSubscription": shop.webhooks.subscribe(shop, **values), "userErrors": []}


def _update(_: Any, info: Info, id: str, webhookSubscription: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
    shop, given = info.context.shop, webhookSubscription
    found = subscription_by_id(info.context, id)
    if found is None:
        return _refused(("id",), _NONE)
    names = {
        "uri": "uri",
        "format": "format",
        "includeFields": "include_fields",
        "filter": "filter",
        "name": "name",
        "metafieldNamespaces": "metafield_namespaces",
    }
    new = {ours: given[theirs] for theirs, ours in names.items() if theirs in given}
    values = {name: new.get(name, getattr(found, name)) for name in ("topic", *names.values())}
    problem = _problem(shop, values, found.place)
    if problem is not None:
        return _refused(_ADDRESS, problem)
    for name, value in new.items():
        setattr(found, name, value)
    found.updated_at = shop.now()
    return {"webhookSubscription": found, "userErrors": []}


def _delete(_: Any, info: Info, id: str) -> dict[str, Any]:
    place = ids.place("WebhookSubscription", id)
    if info.context.shop.webhooks.subscriptions.pop(place, None) is None:
        return {"deletedWebhookSubscriptionId": None, "userErrors": [errors.user_error(("id",), _NONE)]}
    return {"deletedWebhookSubscriptionId": id, "userErrors": []}


def _problem(shop: Shop, values: Mapping[str, Any], place: int | None) -> str | None:
    """Why there cannot be such a subscription."""
    parts = urlsplit(values["uri"])
    if not values["uri"]:
        return "Address can't be blank"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return "Address protocol http:// is not supported"
    same = ("topic", "uri", "format", "filter")
    if any(
        all(getattr(one, name) == values[name] for name in same)
        for one in shop.webhooks.subscriptions.values()
        if one.place != place
    ):
        return "Address for this topic has already been taken"
    return None


def _refused(field: Sequence[str], words: str) -> dict[str, Any]:
    return {"webhookSubscription": None, "userErrors": [errors.user_error(field, words)]}


RESOLVERS: Resolvers = {
    "QueryRoot": {"webhookSubscription": _one, "webhookSubscriptions": _all},
    "Mutation": {
        "webhookSubscriptionCreate": _create,
        "webhookSubscriptionDelete": _delete,
        "webhookSubscriptionUpdate": _update,
    },
}


def shown(shop: Shop) -> dict[str, Any]:
    """How deliveries travel, and how many of them came how far."""
    hooks = shop.webhooks
    travel = {one.name: getattr(hooks.travel, one.name) for one in fields(Travel) if one.name != "secret"}
    return {
        "travel": travel,
        "counts": dict(hooks.counts),
        "pending": hooks.pending,
        "subscriptions": [{"topic": one.topic, "uri": one.uri} for one in hooks.subscriptions.values()],
    }


def set_travel(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Replaces how deliveries travel: what `body` leaves out is as usual."""
    known = {one.name: type(getattr(Travel(), one.name)) for one in fields(Travel)}
    if unknown := [name for name in body if name not in known]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(known)}")
    shop.webhooks.travel = Travel(**body)
    shop.webhooks.kick(shop)
    return shown(shop)


def held(shop: Shop) -> dict[str, Any]:
    """What was kept here, and is no longer."""
    taken, shop.webhooks.outbox = shop.webhooks.outbox, []
    return {"deliveries": taken, "pending": shop.webhooks.pending}


def raised(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Tell of something that the sandbox itself never does: {"topic", "body"}."""
    told = shop.webhooks.tell(shop, str(body["topic"]), dict(body["body"]))
    return {"told": told}


def dropped(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """End the subscriptions to `topics`, or all, as the platform does in silence."""
    topics = body.get("topics")
    hooks = shop.webhooks
    gone = [place for place, one in hooks.subscriptions.items() if topics is None or one.topic in topics]
    for place in gone:
        del hooks.subscriptions[place]
    return {"dropped": len(gone)}
