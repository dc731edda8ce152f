"""What a variant of a shop's product comes to as an offer, whatever the shop runs on."""

from __future__ import annotations

from adapters.wire import Unclear
from domain.money import Money


def claim(sku: str | None, variant: str, owners: dict[str, str]) -> None:
    """Let the SKU be that of the variant. `owners` are the SKUs so far, with their variants.

    Raises Unclear for a variant that has no SKU, or one that belongs to another variant already.
    """
    if sku is None or not sku.strip():
        raise Unclear("no SKU")
    first = owners.setdefault(sku, variant)
    if first != variant:
        raise Unclear(f"the SKU {sku} is on two variants: {first} is kept, {variant} is not")


def regular_and_sale(paid: Money, struck: Money | None) -> tuple[Money, Money | None]:
    """The regular price, and the sale's: what is paid is a sale's price where a higher one stands struck beside it.

    Raises Unclear for two that cannot be compared.
    """
    if struck is None:
        return paid, None
    if struck.currency != paid.currency:
        raise Unclear(f"the price is in {paid.currency}, the one struck beside it in {struck.currency}")
    return (paid, None) if struck.amount <= paid.amount else (struck, paid)
