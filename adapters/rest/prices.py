"""Prices. Sources: patchVariants and listVariants, whose `price` is paid, a higher `compare_at_price` struck beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.port import BeforeSend
from adapters.prices import PriceKey, PriceWrite, ShownPrice
from adapters.rest import wire
from adapters.rest.bulk import Bulk, Json, Outcome, Refusal
from adapters.rest.catalog import prices
from adapters.rest.client import RestClient, answered
from adapters.rest.offers import Offers
from adapters.rest.operations import LIST_VARIANTS, PATCH_VARIANTS
from adapters.rest.skus import parts
from adapters.rest.wire import Body, told
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, Transient
from domain.price import Price, Sale


class _Variant(Body):
    sku: str
    price: wire.Price
    compare_at_price: wire.Price | None = None


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


async def shown_prices(
    client: RestClient, offers: Offers, keys: Sequence[PriceKey], ask: Ask
) -> list[ShownPrice | HouseError]:
    """What is shown now. A price that cannot be read is Transient, in its place."""
    await offers.need(LIST_VARIANTS, ask)
    as_of = datetime.now(UTC)
    found: dict[str, Price | HouseError] = {}
    asked: dict[str, str | None] = {}
    for part in parts(list(dict.fromkeys(key.channel_sku for key in keys))):
        reply = await client.call(LIST_VARIANTS, ask, query={"sku": part})
        for row in answered(_Variants, reply).data:
            sku, price = _read(client.config.shop, row, reply.request_id)
            found[sku], asked[sku] = price, reply.request_id
    answers: list[ShownPrice | HouseError] = []
    for key in keys:
        told = found.get(key.channel_sku)
        shown = told if isinstance(told, HouseError) else ShownPrice(key, told, as_of, asked.get(key.channel_sku))
        answers.append(shown)
    return answers


def _read(shop: str, row: Any, request_id: str | None) -> tuple[str, Price | HouseError]:
    """The SKU of a variant and its price. Raises Transient where not even the SKU can be told."""
    try:
        variant = read(_Variant, row)
        regular, sale = prices(variant.price, variant.compare_at_price)
        return variant.sku, Price(regular, None if sale is None else Sale(sale))
    except Unclear as problem:
        failed = Transient(f"A price of {shop} cannot be read: {problem}", upstream_request_id=request_id)
        sku = row.get("sku") if isinstance(row, dict) else None
        if not isinstance(sku, str):
            raise failed from problem
        return sku, failed


def _wrong(write: PriceWrite, currency: str) -> HouseError | None:
    """Why this write cannot be sent."""
    sku, price, sale = write.key.channel_sku, write.price.regular, write.price.sale
    for one in (price,) if sale is None else (price, sale.price):
        if one.currency != currency:
            return Invalid(f"The shop's prices are in {currency}; {one.currency} was meant for {sku}.")
    if sale is not None and sale.price.amount >= price.amount:
        return Invalid(f"The sale's price of {sku}, {sale.price.amount}, is not below the regular {price.amount}.")
    return None


def _item(write: PriceWrite) -> Json:
    regular, sale = write.price.regular, write.price.sale
    paid, struck = (regular, None) if sale is None else (sale.price, regular)
    return {
        "sku": write.key.channel_sku,
        "price": told(paid),
        "compare_at_price": None if struck is None else told(struck),
    }


def _meaning(_: PriceWrite, __: Refusal) -> HouseError | None:
    return None
