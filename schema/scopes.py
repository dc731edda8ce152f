"""Which scope opens what, by field coordinate. A field that is not named here is open to whoever may read its parent; a test
holds that every root field is named. One of the scopes is enough."""

from __future__ import annotations

from collections.abc import Mapping

ALL = frozenset(
    {
        "stock:read",
        "catalog:read",
        "orders:read",
        "orders:pii",
        "shipments:write",
        "prices:write",
        "stock:write",
        "finance:read",
        "operations:approve",
        "admin",
    }
)

_ANY = ALL
_WRITERS = frozenset({"shipments:write", "prices:write", "stock:write", "operations:approve", "admin"})
_INSIDERS = frozenset({"orders:read", "finance:read", "admin"}) | _WRITERS


def _only(*scopes: str) -> frozenset[str]:
    return frozenset({*scopes, "admin"})


SCOPES: Mapping[str, frozenset[str]] = {
    "Query.node": _ANY,  # the type it answers is checked again in the resolver
    "Query.stock": _only("stock:read"),
    "Query.product": _only("catalog:read"),
    "Query.products": _only("catalog:read"),
    "Query.order": _only("orders:read"),
    "Query.orders": _only("orders:read"),
    "Query.operation": _WRITERS,
    "Query.operations": _WRITERS,
    "Query.channels": _INSIDERS,
    "Query.budgets": _INSIDERS,
    "Mutation.confirmShipments": _only("shipments:write"),
    "Mutation.approveOperation": _only("operations:approve"),
    "Mutation.cancelOperation": _WRITERS - {"operations:approve"},
    "Mutation.retryOperation": _WRITERS - {"operations:approve"},
    "Subscription.operation": _WRITERS,
    "Subscription.stock": _only("stock:read"),
    # What a storefront's key must not see through a product.
    "Product.unitCost": _only("finance:read"),
    "Product.stock": _only("stock:read"),
    "Stock.product": _only("catalog:read"),
    "OrderLine.product": _only("catalog:read"),
    "Channel.healthy": _INSIDERS,
    "Channel.ailments": _INSIDERS,
    "Channel.streams": _INSIDERS,
    "Channel.budgets": _INSIDERS,
}

NODE_SCOPES: Mapping[str, frozenset[str]] = {
    "Product": SCOPES["Query.product"],
    "Listing": SCOPES["Query.product"],
    "Order": SCOPES["Query.order"],
    "Operation": SCOPES["Query.operation"],
    "Channel": SCOPES["Query.channels"],
}
