"""Prices. Sources: patchVariants and listVariants, whose `price` is paid, a higher `compare_at_price` struck beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.port import BeforeSend
from adapters.rest.bulk import Bulk, Json, Outcome, Refusal
from adapters.rest.catalog import prices
from adapters.rest.client import RestClient, answered
from adapters.rest.offers import Offers
from adapters.rest.operations import LIST_VARIANTS, PATCH_VARIANTS
from adapters.rest.skus import parts
from adapters.rest.wire import Body, Price, told
from adapters.storefront import PriceKey, PriceWrite, ShownPrice
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, Transient
from domain.money import Money


class _Variant(Body):
    sku: str
    price: Price
    compare_at_price: Price | None = None


class _Variants(Body):
    data: list[Any]


async def tell_prices(
    client: RestClient, offers: Offers, writes: Sequence[PriceWrite], ask: Ask, before_send: BeforeSend
) -> list[Outcome]:
    """One answer per write. A sale that is no lower than the regular price is refused here: a shop would show none."""
    if not writes:
        return []
    shop = await offers.need(PATCH_VARIANTS, ask)
    wrong = [_wrong(write, shop.currency) for write in writes]
    good = [write for write, problem in zip(writes, wrong, strict=True) if problem is None]
    bulk = Bulk(client, PATCH_VARIANTS, {})
    sent = (
        await bulk.send(good, _item, lambda one: one.reference, _meaning, shop.limits.bulk, ask, before_send)
        if good
        else []
    )
    answers = iter(sent)
    return [next(answers) if problem is None else problem for problem in wrong]


async def shown_prices(client: RestClient, offers: Offers, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice]:
    """What is shown now. Raises Transient for a price that cannot be read."""
    await offers.need(LIST_VARIANTS, ask)
    as_of = datetime.now(UTC)
    found: dict[str, tuple[Money, Money | None, str | None]] = {}
    skus = list(dict.fromkeys(key.channel_sku for key in keys))
    for part in parts(skus):
        reply = await client.call(LIST_VARIANTS, ask, query={"sku": part})
        for row in answered(_Variants, reply).data:
            try:
                variant = read(_Variant, row)
                found[variant.sku] = (*prices(variant.price, variant.compare_at_price), reply.request_id)
            except Unclear as problem:
                words = f"A price of {client.config.shop} cannot be read: {problem}"
                raise Transient(words, upstream_request_id=reply.request_id) from problem
    shown = [(key, *found.get(key.channel_sku, (None, None, None))) for key in keys]
    return [ShownPrice(key, price, sale, as_of, request_id) for key, price, sale, request_id in shown]


def _wrong(write: PriceWrite, currency: str) -> HouseError | None:
    """Why this write cannot be sent."""
    sku, price, sale = write.key.channel_sku, write.price, write.sale_price
    for one in (price, sale):
        if one is not None and one.currency != currency:
            return Invalid(f"The shop's prices are in {currency}; {one.currency} was meant for {sku}.")
    if sale is not None and sale.amount >= price.amount:
        return Invalid(f"The sale's price of {sku}, {sale.amount}, is not below the regular {price.amount}.")
    return None


def _item(write: PriceWrite) -> Json:
    paid, struck = (write.price, None) if write.sale_price is None else (write.sale_price, write.price)
    return {
        "sku": write.key.channel_sku,
        "price": told(paid),
        "compare_at_price": None if struck is None else told(struck),
    }


def _meaning(_: PriceWrite, __: Refusal) -> HouseError | None:
    return None
