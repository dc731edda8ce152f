"""The access scopes of an app: which we ask for, and what goes without each. Source: "Shopify API access scopes".

A scope that lets write lets read too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

NEEDED = {
    "read_products": "products and prices are not read",
    "read_inventory": "stock is not read",
    "read_locations": "the places of stock are not known",
    "read_orders": "orders are not read",
    "write_merchant_managed_fulfillment_orders": "parcels are neither confirmed nor read back",
}
OPTIONAL = {
    "read_all_orders": "orders older than 60 days stay unseen",
    "write_inventory": "it cannot be told what it may sell",
    "write_products": "prices cannot be changed",
    "write_orders": "orders can be neither canceled nor refunded",
    "read_shopify_payments_accounts": "payouts are not read",
    "read_shopify_payments_payouts": "payouts are not read",
}
# Shopify grants it to apps that it has approved for it, and refuses a consent page that asks for it elsewhere.
ON_APPROVAL = ("read_all_orders",)
ASKED = tuple(scope for scope in (*NEEDED, *OPTIONAL) if scope not in ON_APPROVAL)


def missing(granted: Collection[str], wanted: Iterable[str]) -> list[str]:
    """Those of `wanted` that `granted` does not cover, in their order."""
    return [scope for scope in wanted if not _covered(scope, granted)]


def listed(text: str | None) -> frozenset[str]:
    """The scopes in an answer of the token endpoint, which names them with commas."""
    return frozenset(one.strip() for one in (text or "").split(",") if one.strip())


def without(scopes: Iterable[str]) -> str:
    """What goes without them, as sentences."""
    known = NEEDED | OPTIONAL
    return " ".join(f"Without {one}, {known.get(one, 'what needs it is refused')}." for one in scopes)


def _covered(scope: str, granted: Collection[str]) -> bool:
    return scope in granted or (scope.startswith("read_") and f"write_{scope.removeprefix('read_')}" in granted)
