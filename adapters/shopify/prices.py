"""Prices of variants: productVariantsBulkUpdate, one call for each product, or all calls as one bulk operation.

What buyers pay is a variant's `price`; where a sale is on, the regular price stands beside it as `compareAtPrice`. Amounts are in
the shop's own currency. A row that is wrong stops no other of its call (`allowPartialUpdates`), and every row that was taken is
shown in the answer, so that what an answer leaves out is never taken for done. Prices know no compare-and-set, so none are told
while an earlier bulk operation of them is at work: it would write its older prices over them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from adapters.port import BeforeSend, Receipt
from adapters.prices import PriceKey, PriceWrite, ShownPrice
from adapters.shopify import bulk, bulk_mutation
from adapters.shopify.catalog import prices
from adapters.shopify.client import PLAN, Json, Reply, ShopClient
from adapters.shopify.document import PAGE, PAGE_INFO, Document
from adapters.shopify.paging import answered, by_id, pages
from adapters.shopify.problems import Problem, of_all, raised
from adapters.shopify.wire import Ref, exact, quoted
from adapters.transport import lost
from adapters.wire import Amount, Unclear, Wire, read
from domain.budget import Ask, Priority
from domain.errors import HouseError, Invalid, NotFound, OutcomeUnknown, Refused, Transient
from domain.ids import ChannelSku
from domain.price import Price, Sale
from domain.route import Choice, Route, Step, Way, choose

log = logging.getLogger(__name__)

BATCH = 2_000  # the most prices that are told or read at once

# What an answer takes, and what a bulk operation takes until it runs and for each of its rows. Nothing is published about them:
# they are reckoned on the slow side, so that few products never wait for a bulk operation.
CALL_S = 0.5
BULK_S = 8.0
ROW_S = 0.05
BULK_CALLS = 6  # a place for the upload, the start, and some looks at how it stands

_VARIANT = "id sku price compareAtPrice product { id }"

SET_PRICES = Document(
    "SetPrices",
    "productVariantsBulkUpdate",
    10,
    """mutation SetPrices($product: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $product, variants: $variants, allowPartialUpdates: true) {
    productVariants { id price compareAtPrice }
    userErrors { code field message }
  }
}""",
    write=True,
    itemized=True,
)

PRICES = Document(
    "Prices",
    "nodes",
    2,
    f"query Prices($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on ProductVariant {{ {_VARIANT} }} }} }}",
)

PRICES_BY_SKU = Document(
    "PricesBySku",
    "productVariants",
    24,
    f"""query PricesBySku($query: String, $after: String) {{
  productVariants(first: {PAGE}, sortKey: ID, query: $query, after: $after) {{ nodes {{ {_VARIANT} }} {PAGE_INFO} }}
}}""",
)

Answer = Receipt | HouseError
_GID = re.compile(r"gid://shopify/(?:ProductVariant|Product)/[0-9]+")


class _Terms(Wire):
    id: str
    price: Amount
    compare_at_price: Amount | None


class _Variant(_Terms):
    sku: str | None
    product: Ref


class _Payload(Wire):
    product_variants: list[_Terms] | None
    user_errors: list[Problem]


@dataclass(frozen=True, slots=True)
class Row:
    """One variant's prices as they are sent. `place` is that of its write."""

    place: int
    sku: ChannelSku
    product: str
    variant: str
    price: Decimal
    compare_at: Decimal | None

    def json(self) -> Json:
        crossed_out = None if self.compare_at is None else f"{self.compare_at:f}"
        return {"id": self.variant, "price": f"{self.price:f}", "compareAtPrice": crossed_out}


@dataclass(frozen=True, slots=True)
class Found:
    """A variant as it stands, and the call that told of it."""

    variant: _Variant
    request_id: str | None


class ShopPrices:
    """The prices of one shop. `currency` tells the shop's own."""

    def __init__(self, client: ShopClient, currency: Callable[[Ask], Awaitable[str]]) -> None:
        self._client = client
        self._currency = currency

    async def tell(self, writes: Sequence[PriceWrite], ask: Ask, before_send: BeforeSend) -> list[Answer]:
        """One answer per write, in their order. Siblings of a variant stay as they are.

        A variant or product that a key does not name is looked up. Raises Transient while prices that were told before, perhaps
        by a process that died, are still at work as a bulk operation. Source: productVariantsBulkUpdate.
        """
        if len(writes) > BATCH:
            raise Invalid(f"{len(writes)} prices were to be told at once; {BATCH} are the most.")
        answers: dict[int, Answer] = {}
        calls = _calls(await self._rows(writes, answers, ask))
        if calls:
            await self._check_nothing_at_work(ask)
        if await self._by_bulk(calls, ask):
            await self._tell_by_bulk(calls, answers, ask, before_send)
        else:
            await self._tell_one_by_one(calls, answers, ask, before_send)
        return [answers[place] for place in range(len(writes))]

    async def shown(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        """What buyers see now: one answer per key, Transient for what is no price. Sources: nodes and productVariants."""
        if len(keys) > BATCH:
            raise Invalid(f"Prices were asked of {len(keys)} SKUs at once; {BATCH} are the most.")
        as_of = datetime.now(UTC)
        currency = await self._currency(ask)
        found = await self._found(keys, ask)
        return [_shown(key, found.get(key.channel_sku), currency, as_of) for key in keys]

    async def explain(self, products: int, priority: Priority) -> Choice:
        """How prices of variants of so many products would be told now, and why: by seconds under what the budget holds.

        Raises Throttled without Redis.
        """
        purses = await self._client.budgets.purses(self._client.channel, [PLAN], priority)
        return choose(routes(products, await self._client.costs.actual(SET_PRICES)), purses)

    async def _check_nothing_at_work(self, ask: Ask) -> None:
        earlier = await bulk.under_way(self._client, f"{SET_PRICES.name}_", ask)
        if earlier is not None:
            shop = self._client.config.shop
            raise Transient(
                f"{shop} is still at work on prices that were told before; these have to follow it ({earlier.id})."
            )

    async def _by_bulk(self, calls: Sequence[Sequence[Row]], ask: Ask) -> bool:
        # The rows of a bulk operation are carried out in no promised order.
        variants = [row.variant for call in calls for row in call]
        if len(calls) < 2 or len(set(variants)) < len(variants):
            return False
        choice = await self.explain(len(calls), ask.priority)
        way = choice.taken.route.way
        told = {one.route.way.value: round(one.seconds, 1) for one in (choice.taken, *choice.others)}
        extra = {"channel": self._client.channel, "products": len(calls), "way": way.value, "seconds": told}
        log.info("prices.chosen", extra=extra)
        return way is Way.BULK

    async def _tell_one_by_one(
        self, calls: Sequence[Sequence[Row]], answers: dict[int, Answer], ask: Ask, before_send: BeforeSend
    ) -> None:
        """What stops the first call is raised; what stops a later one is the answer to all that are left."""
        shop = self._client.config.shop
        sent = False
        for place, call in enumerate(calls):
            try:
                reply = await self._client.run(SET_PRICES, _variables(call), ask, before_send)
            except Refused as problem:
                answers |= {row.place: problem for row in call}
            except OutcomeUnknown as problem:
                answers |= {row.place: problem for row in call}
                words = "Not sent, for an earlier call of the same prices got no answer."
                answers |= {row.place: Transient(words) for later in calls[place + 1 :] for row in later}
                return
            except HouseError as problem:
                if not sent:
                    raise
                answers |= {row.place: problem for later in calls[place:] for row in later}
                return
            else:
                answers |= _answers(shop, call, reply)
            sent = True

    async def _tell_by_bulk(
        self, calls: Sequence[Sequence[Row]], answers: dict[int, Answer], ask: Ask, before_send: BeforeSend
    ) -> None:
        rows = [_variables(call) for call in calls]
        outcomes = await bulk_mutation.run_mutation(self._client, SET_PRICES, rows, ask, before_send)
        for call, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Reply):
                answers |= _answers(self._client.config.shop, call, outcome)
            else:
                answers |= {row.place: outcome for row in call}

    async def _rows(self, writes: Sequence[PriceWrite], answers: dict[int, Answer], ask: Ask) -> list[Row]:
        """What is to be sent; what cannot be goes into `answers`."""
        currency = await self._currency(ask)
        wanting = [write.key for write in writes if not _addressed(write.key)]
        found = await self._found(wanting, ask) if wanting else {}
        rows = []
        for place, write in enumerate(writes):
            try:
                price, compare_at = _terms(write, currency)
                product, variant = _address(write.key, found.get(write.key.channel_sku))
            except Refused as problem:
                answers[place] = problem
            else:
                rows.append(Row(place, write.key.channel_sku, product, variant, price, compare_at))
        return rows

    async def _found(self, keys: Sequence[PriceKey], ask: Ask) -> dict[ChannelSku, Found]:
        """Variants by SKU: by the id that a key names, or by the SKU where that is gone or carries another one by now. Of
        variants that share a SKU, the one with the lowest id."""
        found: dict[ChannelSku, Found] = {}
        gids = list(dict.fromkeys(gid for key in keys if _is_gid("ProductVariant", gid := _ref(key, "variant"))))
        wanted = {key.channel_sku for key in keys}
        for start in range(0, len(gids), PAGE):
            reply = await self._client.run(PRICES, {"ids": gids[start : start + PAGE]}, ask)
            for variant in (answered(_Variant, node) for node in reply.data["nodes"] if node):
                if variant.sku in wanted:
                    found.setdefault(ChannelSku(variant.sku), Found(variant, reply.request_id))
        missing = list(dict.fromkeys(key.channel_sku for key in keys if key.channel_sku not in found))
        for start in range(0, len(missing), PAGE):
            terms = " OR ".join(f"sku:{quoted(sku)}" for sku in missing[start : start + PAGE])
            async for batch in pages(self._client, PRICES_BY_SKU, by_id([f"({terms})"]), ask):
                for variant in (answered(_Variant, row) for row in batch.rows):
                    if variant.sku in wanted:
                        found.setdefault(ChannelSku(variant.sku), Found(variant, batch.request_id))
        return found


def routes(products: int, points: float) -> list[Route]:
    """The ways to tell prices of variants of so many products, of which each takes `points` when it is called for."""
    bulk = Step(PLAN, BULK_CALLS, SET_PRICES.cost, CALL_S, then_s=BULK_S + products * ROW_S)
    return [
        Route(Way.BATCH, (Step(PLAN, max(1, products), points, CALL_S),)),
        Route(Way.BULK, (bulk,)),
    ]


def _ref(key: PriceKey, name: str) -> str:
    return dict(key.refs).get(name, "")


def _is_gid(kind: str, gid: str) -> bool:
    return _GID.fullmatch(gid) is not None and gid.startswith(f"gid://shopify/{kind}/")


def _addressed(key: PriceKey) -> bool:
    return _is_gid("ProductVariant", _ref(key, "variant")) and _is_gid("Product", _ref(key, "product"))


def _address(key: PriceKey, found: Found | None) -> tuple[str, str]:
    """The product and the variant of a key. Raises NotFound."""
    if _addressed(key):
        return _ref(key, "product"), _ref(key, "variant")
    if found is None:
        raise NotFound(f"The shop has no variant with the SKU {key.channel_sku}.")
    return found.variant.product.id, found.variant.id


def _terms(write: PriceWrite, currency: str) -> tuple[Decimal, Decimal | None]:
    """`price` and `compareAtPrice` as the shop calls them. Raises Invalid."""
    sku, regular, sale = write.key.channel_sku, write.price.regular, write.price.sale
    told = [regular] if sale is None else [regular, sale.price]
    for one in told:
        if one.currency != currency:
            raise Invalid(
                f"The price of {sku} is in {one.currency}; the shop's own prices are in {currency}, and other currencies "
                "have price lists of their own."
            )
        if one.amount < 0:
            raise Invalid(f"The price of {sku} is {one.amount}; a shop takes no price below zero.")
    amounts = [exact(one, f"The price of {sku}") for one in told]
    if sale is None:
        return amounts[0], None
    if amounts[1] >= amounts[0]:
        text = f"The sale of {sku} costs {amounts[1]} {currency}, which is not below its regular price, {amounts[0]}."
        raise Invalid(text)
    return amounts[1], amounts[0]


def _calls(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by product, at most 250 to a call; two of one variant follow each other in two calls."""
    calls: list[list[Row]] = []
    last: dict[str, list[Row]] = {}
    for row in rows:
        call = last.get(row.product)
        if call is None or len(call) == PAGE or any(one.variant == row.variant for one in call):
            call = last[row.product] = []
            calls.append(call)
        call.append(row)
    return calls


def _variables(call: Sequence[Row]) -> Json:
    return {"product": call[0].product, "variants": [row.json() for row in call]}


def _answers(shop: str, call: Sequence[Row], reply: Reply) -> dict[int, Answer]:
    """What became of each row, by the place of its write: what is neither refused nor shown is unknown."""
    try:
        payload = read(_Payload, reply.data[SET_PRICES.operation])
    except Unclear as problem:
        failed = lost(True, f"no refusal and no prices: {problem}", reply.request_id)
        return {row.place: failed for row in call}
    wrong: dict[int, Problem] = {}
    for told in payload.user_errors:
        place = told.entry(len(call))
        if place is not None:
            wrong.setdefault(place, told)
    general = of_all(payload.user_errors, len(call))
    shown = {one.id: (one.price, one.compare_at_price) for one in payload.product_variants or ()}
    answers: dict[int, Answer] = {}
    for place, row in enumerate(call):
        fault = wrong.get(place)
        if fault is None and shown.get(row.variant) == (row.price, row.compare_at):
            answers[row.place] = Receipt(reply.request_id)
        elif worst := fault or general:
            what = f"{shop} does not take {row.price} as the price of {row.sku}"
            answers[row.place] = raised(SET_PRICES.operation, worst, what, reply.request_id)
        else:
            words = f"{shop} took the prices and does not show that of {row.sku} as it was told."
            answers[row.place] = OutcomeUnknown(words, upstream_request_id=reply.request_id)
    return answers


def _shown(key: PriceKey, found: Found | None, currency: str, as_of: datetime) -> ShownPrice | HouseError:
    if found is None:
        return ShownPrice(key, None, as_of)
    try:
        regular, sale = prices(found.variant.price, found.variant.compare_at_price, currency)
    except Unclear as problem:
        words = f"The price of {key.channel_sku} cannot be read: {problem}"
        return Transient(words, upstream_request_id=found.request_id)
    price = Price(regular, None if sale is None else Sale(sale))
    return ShownPrice(key, price, as_of, found.request_id)
