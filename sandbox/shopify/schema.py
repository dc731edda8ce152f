"""The executable schemas, one per API version: the files of sdl/ put together, with resolvers and access scopes bound to them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_specified_scalar_type,
)

from sandbox.shopify import (
    adjustments,
    bulk,
    cancels,
    catalog,
    errors,
    fulfillment,
    ids,
    inventory,
    money,
    order_views,
    payment_views,
    prices,
    refunds,
    subscriptions,
)
from sandbox.shopify.call import Info, Resolver, Resolvers
from sandbox.shopify.webhooks import DOMAIN

VERSIONS = ("2026-04", "2026-07", "2026-10")
"""Answered versions, the oldest first. Whoever asks for another one is answered by the oldest."""

_SDL = Path(__file__).with_name("sdl")
_NOT_STOCKED = "\n".join(
    f"extend enum Inventory{kind}QuantitiesUserErrorCode {{ ITEM_NOT_STOCKED_AT_LOCATION }}"
    for kind in ("Adjust", "Set")
)
_ADDED = {
    "2026-04": _NOT_STOCKED,
    "2026-07": _NOT_STOCKED,
    "2026-10": "extend enum OrderDisplayFulfillmentStatus { FULFILLMENT_NOT_REQUIRED }",
}

_WORK = ("assigned", "merchant_managed", "third_party")
_READ_WORK = tuple(f"read_{kind}_fulfillment_orders" for kind in _WORK)
_WRITE_WORK = tuple(f"write_{kind}_fulfillment_orders" for kind in _WORK)
_READ_ACCOUNT = ("read_shopify_payments", "read_shopify_payments_accounts")
_READ_PAYOUTS = ("read_shopify_payments", "read_shopify_payments_payouts")

READ_ACCESS: Mapping[str, tuple[str, ...]] = {
    "Product": ("read_products",),
    "ProductVariant": ("read_products",),
    "InventoryItem": ("read_inventory", "read_products"),
    "InventoryLevel": ("read_inventory",),
    "Location": ("read_locations", "read_inventory"),
    "Order": ("read_orders",),
    "LineItem": ("read_orders",),
    "OrderTransaction": ("read_orders",),
    "Refund": ("read_orders",),
    "ShopifyPaymentsAccount": _READ_ACCOUNT,
    "ShopifyPaymentsBalanceTransaction": _READ_PAYOUTS,
    "ShopifyPaymentsPayout": _READ_PAYOUTS,
    "Fulfillment": ("read_orders", *_READ_WORK),
    "FulfillmentOrder": _READ_WORK,
    "FulfillmentOrderLineItem": _READ_WORK,
}
WRITE_ACCESS: Mapping[str, tuple[tuple[str, ...], str]] = {
    # What they read or write asks for scopes of its own.
    "bulkOperationCancel": ((), ""),
    "bulkOperationRunMutation": ((), ""),
    "bulkOperationRunQuery": ((), ""),
    "stagedUploadsCreate": ((), ""),
    "inventorySetQuantities": (("write_inventory",), " Also: The user must have a permission to update an inventory."),
    "inventoryActivate": (
        ("write_inventory",),
        " Also: The user must have a permission to activate an inventory item.",
    ),
    "inventoryAdjustQuantities": (
        ("write_inventory",),
        " Also: The user must have a permission to apply changes to inventory quantities.",
    ),
    "productVariantsBulkUpdate": (
        ("write_products",),
        " Also: The user must have a permission to update product variants.",
    ),
    "orderCancel": (("write_orders",), " Also: The user must have a permission to cancel orders."),
    "refundCreate": (("write_orders",), " Also: The user must have a permission to refund orders."),
    "fulfillmentCreate": (_WRITE_WORK, " Also: The user must have fulfill_and_ship_orders permission."),
    "fulfillmentTrackingInfoUpdate": (_WRITE_WORK, " Also: The user must have fulfill_and_ship_orders permission."),
    "webhookSubscriptionCreate": ((), ""),
    "webhookSubscriptionDelete": ((), ""),
    "webhookSubscriptionUpdate": ((), ""),
    "fulfillmentCancel": (_WRITE_WORK, " Also: The user must have fulfill_and_ship_orders permission."),
}


def _node(_: Any, info: Info, id: str) -> Any:
    call = info.context
    kind = ids.kind_of(id)
    find = _FINDERS.get(kind)
    if find is None:
        raise errors.invalid_id()
    scopes = READ_ACCESS.get(kind, ())
    if scopes and call.scopes.isdisjoint(scopes):
        raise errors.denied(info.field_name, access_words(scopes))
    return find(call, id)


def _nodes(_: Any, info: Info, ids: list[str]) -> list[Any]:
    return [_node(None, info, each) for each in ids]


_FINDERS: Mapping[str, Any] = {
    "Fulfillment": order_views.parcel_by_id,
    "FulfillmentOrder": order_views.work_by_id,
    "InventoryItem": lambda call, given: inventory.item_by_id(call.shop, given),
    "InventoryLevel": lambda call, given: inventory.level_by_id(call.shop, given),
    "LineItem": order_views.line_by_id,
    "Location": lambda call, given: inventory.location_by_id(call.shop, given),
    "Order": order_views.order_by_id,
    "WebhookSubscription": subscriptions.subscription_by_id,
    "Product": lambda call, given: catalog.style_by_id(call.shop, given),
    "OrderTransaction": lambda call, given: refunds.payment_by_id(call, given),
    "ProductVariant": lambda call, given: catalog.variant_by_id(call.shop, given),
    "ShopifyPaymentsBalanceTransaction": payment_views.movement_by_id,
    "ShopifyPaymentsPayout": payment_views.payout_by_id,
    "Refund": lambda call, given: refunds.refund_by_id(call, given),
}


def _shop(_: Any, info: Info) -> dict[str, Any]:
    opened = info.context.shop.created_at(0)
    return {
        "contactEmail": "owner@acorn-sandbox.example.test",
        "createdAt": opened,
        "currencyCode": money.SHOP_CURRENCY,
        "email": "owner@acorn-sandbox.example.test",
        "enabledPresentmentCurrencies": list(money.RATES),
        "ianaTimezone": "America/Los_Angeles",
        "id": ids.gid("Shop", 0),
        "myshopifyDomain": DOMAIN,
        "name": "Acorn Sandbox",
        "plan": {"partnerDevelopment": False, "publicDisplayName": "Basic", "shopifyPlus": False},
        "taxesIncluded": True,
        "updatedAt": opened,
        "url": f"https://{DOMAIN}",
    }


def _installation(_: Any, info: Info) -> dict[str, Any]:
    return {
        "id": ids.gid("AppInstallation", 0),
        "accessScopes": [
            {"handle": scope, "description": scope.replace("_", " ").capitalize()}
            for scope in sorted(info.context.scopes)
        ],
        "app": {"id": ids.gid("App", 0), "apiKey": "sandbox-client", "handle": "sandbox-app", "title": "Sandbox App"},
    }


def _versions(_: Any, info: Info) -> list[dict[str, Any]]:
    known = [{"handle": version, "displayName": version, "supported": True} for version in VERSIONS]
    return [*known, {"handle": "unstable", "displayName": "unstable", "supported": False}]


_OWN: Resolvers = {
    "QueryRoot": {
        "currentAppInstallation": _installation,
        "node": _node,
        "nodes": _nodes,
        "publicApiVersions": _versions,
        "shop": _shop,
    }
}
_PARTS: tuple[Resolvers, ...] = (
    _OWN,
    catalog.RESOLVERS,
    inventory.RESOLVERS,
    adjustments.RESOLVERS,
    prices.RESOLVERS,
    bulk.RESOLVERS,
    order_views.RESOLVERS,
    fulfillment.RESOLVERS,
    subscriptions.RESOLVERS,
    refunds.RESOLVERS,
    payment_views.RESOLVERS,
    cancels.RESOLVERS,
)


@cache
def schema_of(version: str) -> GraphQLSchema:
    """The executable schema of one of `VERSIONS`."""
    sdl = "\n".join(path.read_text(encoding="utf-8") for path in sorted(_SDL.glob("*.graphql")))
    schema = build_schema(sdl + _ADDED.get(version, ""))
    for name, kind in schema.type_map.items():
        if name.startswith("__"):
            continue
        if isinstance(kind, GraphQLObjectType):
            _bind(schema, kind)
        elif isinstance(kind, GraphQLInterfaceType):
            kind.resolve_type = lambda value, *_: value.typename
        elif isinstance(kind, GraphQLScalarType) and not is_specified_scalar_type(kind):
            _read_and_write(kind)
    return schema


def _bind(schema: GraphQLSchema, kind: GraphQLObjectType) -> None:
    explicit = {field: each for part in _PARTS for field, each in part.get(kind.name, {}).items()}
    for name, field in kind.fields.items():
        resolve = explicit.pop(name, None) or _attribute(name)
        field.resolve = _guarded(schema, kind, name, field, resolve)
    assert not explicit, f"{kind.name} has no {', '.join(explicit)}"


def _attribute(name: str) -> Resolver:
    """Reads the field from an object (snake case) or a dict (as it stands; a missing key is null)."""
    attribute = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()

    def resolve(source: Any, info: Info) -> Any:
        return source.get(name) if type(source) is dict else getattr(source, attribute)

    return resolve


def _guarded(
    schema: GraphQLSchema, parent: GraphQLObjectType, name: str, field: GraphQLField, resolve: Resolver
) -> Resolver:
    if parent is schema.mutation_type:
        scopes, also = WRITE_ACCESS[name]
    elif parent.name.endswith(("Connection", "Edge", "Payload")):
        return resolve
    else:
        scopes, also = READ_ACCESS.get(get_named_type(field.type).name.removesuffix("Connection"), ()), ""
    if not scopes:
        return resolve
    words = access_words(scopes) + also
    needed = frozenset(scopes)

    def guarded(source: Any, info: Info, **args: Any) -> Any:
        if needed.isdisjoint(info.context.scopes):
            raise errors.denied(name, words)
        return resolve(source, info, **args)

    return guarded


def access_words(scopes: tuple[str, ...]) -> str:
    """("a", "b", "c") -> "`a` access scope, `b` access scope or `c` access scope."."""
    named = [f"`{scope}` access scope" for scope in scopes]
    return (", ".join(named[:-1]) + " or " if len(named) > 1 else "") + named[-1] + "."


def _read_and_write(kind: GraphQLScalarType) -> None:
    """Gives a scalar its meaning; the SDL only names it."""
    scalar: Any = kind  # graphql-core means these methods to be replaced, its types do not
    if kind.name in ("Money", "Decimal"):
        scalar.parse_value = scalar.coerce_input_value = money.parse
    elif kind.name in ("URL", "HTML"):
        scalar.parse_value = scalar.coerce_input_value = _text
    elif kind.name == "DateTime":
        scalar.serialize = scalar.coerce_output_value = _timestamp


def _timestamp(at: Any) -> str:
    if not isinstance(at, datetime):
        raise GraphQLError(f"{at!r} is no instant")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError("not a string")
    return value
