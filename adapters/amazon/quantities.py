"""What our own offers show. Sources: Listings Items 2021-08-01, patchListingsItem and searchListingsItems.

Amazon keeps one number for each SKU of an account, whichever of its marketplaces list it, under the fulfillment channel DEFAULT.
What lies in its own centers it counts itself: no number is ever sent for that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from adapters.amazon import listings, listings_submissions
from adapters.amazon.client import Client
from adapters.amazon.listings import OWN, Step, Stocked, amazons, fulfillment_channel, own_units, walk
from adapters.amazon.listings_submissions import ANY_TYPE, submit
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.paging import Tokens
from adapters.amazon.patches import quantity_patch
from adapters.amazon.wire import rejected
from adapters.port import BeforeSend, Page, Receipt, Shown, ShownKey, StockWrite
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, Refused, Transient
from domain.ids import ChannelId, ChannelSku

TELL_BATCH = 1
SHOWN_BATCH = listings.PAGE


class Item(Wire):
    """As much of a listing as its number needs."""

    sku: str
    fulfillment_availability: tuple[Stocked, ...] = ()


async def tell_stock(
    client: Client,
    seller_id: str,
    marketplaces: Sequence[str],
    writes: Sequence[StockWrite],
    ask: Ask,
    before_send: BeforeSend,
) -> list[Receipt | HouseError]:
    """Show one number, in all marketplaces that list the SKU. Its lead time and whatever else stands beside it stay.

    The refs `productType`, `marketplace` and `fulfillmentChannel` are those of any listing of the SKU; Refused where the last one
    says that it is not our own offer. Amazon cannot compare: `expected` is left aside, and the number that comes last stays.
    """
    if len(writes) > TELL_BATCH:
        raise Invalid(f"{listings_submissions.OPERATION} takes one SKU; {len(writes)} were given.")
    return [await _tell(client, seller_id, marketplaces, write, ask, before_send) for write in writes]


async def _tell(
    client: Client,
    seller_id: str,
    marketplaces: Sequence[str],
    write: StockWrite,
    ask: Ask,
    before_send: BeforeSend,
) -> Receipt | HouseError:
    sku, refs = write.key.channel_sku, dict(write.key.refs)
    channel_code = refs.get("fulfillmentChannel", OWN)
    if channel_code != OWN:
        return _not_ours(sku, channel_code)
    sent = False

    async def noted() -> None:
        nonlocal sent
        await before_send()
        sent = True

    store = marketplace(refs.get("marketplace") or marketplaces[0])
    try:
        return await submit(
            client,
            seller_id,
            store,
            sku,
            [quantity_patch(store, write.quantity)],
            ask,
            noted,
            product_type=refs.get("productType", ANY_TYPE),
            what="the quantity",
        )
    except Refused as problem:
        if not sent:
            raise
        return problem


def _not_ours(sku: ChannelSku, channel_code: str) -> Refused:
    if amazons(channel_code):
        return Refused(f"Amazon fulfills {sku} ({channel_code}) and counts it itself: its quantity cannot be set.")
    return Refused(f"{sku} is sold from the supply source {channel_code}: only offers of {OWN} are given a quantity.")


async def shown_stock(
    client: Client, seller_id: str, marketplaces: Sequence[str], keys: Sequence[ShownKey], ask: Ask
) -> list[Shown]:
    """One number for each key: None where the SKU is not listed, or not sold through our own channel.

    Raises Transient when one that was asked for comes back unreadable: None would pass for an offer that is gone.
    """
    skus = list(dict.fromkeys(key.channel_sku for key in keys))
    if len(skus) > SHOWN_BATCH:
        raise Invalid(f"{listings.OPERATION} takes {SHOWN_BATCH} SKUs at most; {len(skus)} were given.")
    if not skus:
        return []
    as_of = datetime.now(UTC)
    found, request_id = await _numbers(client, seller_id, _stores(marketplaces, keys), skus, ask)
    return [Shown(key, found.get(key.channel_sku), as_of, request_id) for key in keys]


def _stores(marketplaces: Sequence[str], keys: Sequence[ShownKey]) -> list[str]:
    """The ids of the marketplaces through which the keys are listed; all of the account's when a key does not say."""
    named = [dict(key.refs).get("marketplace") for key in keys]
    codes = [code for code in named if code]
    return [marketplace(code).id for code in dict.fromkeys(codes if len(codes) == len(named) else marketplaces)]


async def _numbers(
    client: Client, seller_id: str, stores: list[str], skus: list[ChannelSku], ask: Ask
) -> tuple[dict[str, int | None], str | None]:
    """The numbers of those SKUs that are listed, and Amazon's id of the call."""
    query: dict[str, str | Sequence[str]] = {
        "marketplaceIds": stores,
        "identifiers": skus,
        "identifiersType": "SKU",
        "includedData": ["fulfillmentAvailability"],
        "pageSize": str(SHOWN_BATCH),
    }
    found: dict[str, int | None] = {}
    tokens = Tokens(listings.OPERATION)
    while True:
        answer, request_id = await client.get_with_id(
            listings.OPERATION, listings.path(seller_id), query, ask, listings.Answer
        )
        for raw in answer.items:
            try:
                item = read(Item, raw)
            except Unclear as problem:
                raise Transient(
                    f"{listings.OPERATION} told what cannot be read: {problem}.", upstream_request_id=request_id
                ) from problem
            found[item.sku] = own_units(item.fulfillment_availability)
        if (token := tokens.next(answer.pagination.next_token)) is None:
            return found, request_id
        query["pageToken"] = token


async def shown_pages(
    client: Client, seller_id: str, marketplaces: Sequence[str], ask: Ask
) -> AsyncIterator[Page[Shown]]:
    """The number of each SKU that we fulfill ourselves, once, whichever marketplaces list it."""
    started_at = datetime.now(UTC)
    told: set[str] = set()
    for place, code in enumerate(marketplaces, start=1):
        included = ("summaries", "fulfillmentAvailability")
        async for step in walk(client, seller_id, marketplace(code), None, included, ask):
            page = _page(client.channel, step, told)
            page.until = started_at if step.ended and place == len(marketplaces) else None
            yield page


def _page(channel: ChannelId, step: Step, told: set[str]) -> Page[Shown]:
    """The step's numbers, without those of SKUs that are `told`, which grows."""
    page: Page[Shown] = Page([], list(step.gap))
    for raw in step.fresh:
        try:
            item = read(Item, raw)
        except Unclear as problem:
            page.rejected.append(rejected(channel, "shown", "sku", raw, problem))
            continue
        if item.sku in told or not _ours(item):
            continue
        told.add(item.sku)
        key = ShownKey(ChannelSku(item.sku))
        page.items.append(Shown(key, own_units(item.fulfillment_availability), step.sheet.as_of, step.sheet.request_id))
    return page


def _ours(item: Item) -> bool:
    codes = [one.fulfillment_channel_code for one in item.fulfillment_availability]
    return bool(codes) and fulfillment_channel(codes) == OWN
