"""Listings. Source: Listings Items 2021-08-01, searchListingsItems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from adapters.amazon.client import Client
from adapters.amazon.marketplaces import Marketplace, marketplace
from adapters.amazon.paging import Tokens
from adapters.amazon.wire import Count, Instant, Pagination, rejected
from adapters.port import Page
from adapters.wire import Price, Unclear, Wire, read
from domain.budget import Ask
from domain.ids import ChannelId, ChannelSku, listing_id
from domain.money import Money
from domain.product import FulfilledBy, Listing, ListingIssue, Rejected

OPERATION = "searchListingsItems"
PAGE = 20
# Amazon pages through no more of one search.
MOST = 1000
# The fulfillment channel of what the merchant packs and ships.
OWN = "DEFAULT"
INCLUDED = ("summaries", "offers", "fulfillmentAvailability", "issues")
# The search trails behind the listings themselves: the next run begins a little before this one began.
OVERLAP = timedelta(minutes=2)


class Summary(Wire):
    """What a listing is in one marketplace. `status` is empty for one that can be neither bought nor found."""

    marketplace_id: str
    product_type: str
    status: list[str]
    created_date: Instant
    asin: str | None = None
    fn_sku: str | None = None
    item_name: str | None = None


class Audience(Wire):
    """Whom an offer is for."""

    value: str | None = None


class Offer(Wire):
    """A price in one marketplace; `offer_type` is B2C or B2B."""

    marketplace_id: str
    offer_type: str
    price: Price
    audience: Audience | None = None


class Availability(Wire):
    """Who packs and ships: DEFAULT and supply sources are the merchant's, AMAZON_… Amazon's."""

    fulfillment_channel_code: str


class Stocked(Availability):
    """Units for sale; Amazon's own channels say none."""

    quantity: Count | None = None


class Action(Wire):
    """What Amazon does about an issue, such as LISTING_SUPPRESSED."""

    action: str


class Exemption(Wire):
    """NOT_EXEMPT, or why Amazon does nothing about an issue (yet)."""

    status: str


class Enforcements(Wire):
    """All that Amazon does about an issue, unless the listing is exempt."""

    actions: tuple[Action, ...] = ()
    exemption: Exemption = Exemption(status="NOT_EXEMPT")

    @property
    def in_force(self) -> tuple[str, ...]:
        """What it does now."""
        return tuple(one.action for one in self.actions) if self.exemption.status == "NOT_EXEMPT" else ()


class Issue(Wire):
    """What Amazon finds wrong; without marketplaces it concerns all."""

    code: str
    severity: str
    message: str
    marketplace_ids: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    enforcements: Enforcements = Enforcements()


class Item(Wire):
    """One SKU of the account."""

    sku: str
    summaries: tuple[Summary, ...] = ()
    offers: tuple[Offer, ...] = ()
    fulfillment_availability: tuple[Availability, ...] = ()
    issues: tuple[Issue, ...] = ()


class Born(Wire):
    """As much of a summary as walking needs."""

    created_date: Instant


class Root(Wire):
    """As much of an item as walking needs: read even where the rest is broken."""

    sku: str
    summaries: tuple[Born, ...] = ()


class Answer(Wire):
    """One page. `number_of_results` is what the whole search found."""

    number_of_results: Count
    items: list[object]
    pagination: Pagination = Pagination()


@dataclass(slots=True)
class Walk:
    """How far a walk along the dates of creation has come.

    `told` are the SKUs of the last search: the next one begins at the instant where that one ended, and meets some again.
    """

    created_after: datetime | None = None
    told: frozenset[str] = frozenset()


@dataclass(slots=True)
class Sheet:
    """One page of a search. `count` is the number of items up to its end; `as_of` is taken before asking."""

    answer: Answer
    request_id: str | None
    count: int
    as_of: datetime


@dataclass(slots=True)
class Step:
    """One page of a walk: its items that were not told before, and what the walk has to leave out there."""

    sheet: Sheet
    fresh: list[object]
    gap: list[Rejected]
    ended: bool


async def listing_pages(
    client: Client, seller_id: str, marketplaces: Sequence[str], since: datetime | None, ask: Ask
) -> AsyncIterator[Page[Listing]]:
    """Listings of each marketplace, oldest first; those changed since then, or all. `expected` grows with each marketplace."""
    until = datetime.now(UTC) - OVERLAP
    expected = 0
    for place, code in enumerate(marketplaces, start=1):
        before, last = expected, place == len(marketplaces)
        async for step in walk(client, seller_id, marketplace(code), since, INCLUDED, ask):
            # A later search of the same walk counts only what is left.
            expected = max(expected, before + step.sheet.answer.number_of_results)
            page = _page(client.channel, code, step.fresh, step.sheet.as_of)
            page.rejected.extend(step.gap)
            page.expected = expected
            page.until = until if last and step.ended else None
            yield page


async def walk(
    client: Client, seller_id: str, store: Marketplace, since: datetime | None, included: Sequence[str], ask: Ask
) -> AsyncIterator[Step]:
    """Search after search, each of at most 1,000 items, the next one from where the last one had to stop.

    `included` are the data sets of an item; the walk itself needs the summaries.
    """
    reached = Walk()
    ended = False
    while not ended:
        met: list[Root] = []
        query = _query(store, since, reached.created_after, included)
        async for sheet in _search(client, seller_id, query, ask):
            answer = sheet.answer
            fresh = [raw for raw in answer.items if _sku(raw) not in reached.told]
            met.extend(_roots(answer.items))
            searched = sheet.count >= MOST or not answer.pagination.next_token
            ended = searched and sheet.count < MOST
            gap = _onward(reached, met, client.channel, store) if searched and not ended else []
            yield Step(sheet, fresh, gap, ended)


def _query(
    store: Marketplace, since: datetime | None, created_after: datetime | None, included: Sequence[str]
) -> dict[str, str | Sequence[str]]:
    query: dict[str, str | Sequence[str]] = {
        "marketplaceIds": [store.id],
        "includedData": included,
        "sortBy": "createdDate",
        "sortOrder": "ASC",
        "pageSize": str(PAGE),
    }
    if since:
        query["lastUpdatedAfter"] = iso(since)
    if created_after:
        query["createdAfter"] = iso(created_after)
    return query


async def _search(
    client: Client, seller_id: str, query: dict[str, str | Sequence[str]], ask: Ask
) -> AsyncIterator[Sheet]:
    """The pages of one search."""
    count, tokens = 0, Tokens(OPERATION)
    while True:
        as_of = datetime.now(UTC)
        answer, request_id = await client.get_with_id(OPERATION, path(seller_id), query, ask, Answer)
        count += len(answer.items)
        token = tokens.next(answer.pagination.next_token)
        yield Sheet(answer, request_id, count, as_of)
        if token is None or count >= MOST:
            return
        query["pageToken"] = token


def path(seller_id: str, sku: str | None = None) -> str:
    """Where an account's listings are, or one of them."""
    parts = [seller_id] if sku is None else [seller_id, sku]
    return "/".join(["/listings/2021-08-01/items", *(quote(part, safe="") for part in parts)])


def _onward(walk: Walk, met: list[Root], channel: ChannelId, store: Marketplace) -> list[Rejected]:
    """Let the walk go on where a full search ended. The answer names what cannot be reached: more than 1,000 listings that
    were created in one instant, beyond the first 1,000."""
    last = max((born.created_date for root in met for born in root.summaries), default=None)
    walk.told = frozenset(root.sku for root in met)
    if last is not None and (walk.created_after is None or last > walk.created_after):
        walk.created_after = last
        return []
    at = walk.created_after or datetime.now(UTC)
    # Past the instant, in the precision in which Amazon tells it.
    walk.created_after = at + (timedelta(milliseconds=1) if at.microsecond else timedelta(seconds=1))
    reason = f"{MOST} or more listings were created at {iso(at)}; Amazon lists the first {MOST} of one instant"
    return [Rejected(channel, "listing", f"{store.code} {iso(at)}", reason, "")]


def _roots(items: list[object]) -> Iterator[Root]:
    for raw in items:
        try:
            yield read(Root, raw)
        except Unclear:
            continue  # told as rejected where the whole item is read


def _sku(raw: object) -> object:
    return raw.get("sku") if isinstance(raw, dict) else None


def _page(channel: ChannelId, code: str, items: list[object], as_of: datetime) -> Page[Listing]:
    page: Page[Listing] = Page([])
    for raw in items:
        try:
            page.items.append(listing_of(channel, code, read(Item, raw), as_of))
        except Unclear as problem:
            page.rejected.append(rejected(channel, "listing", "sku", raw, problem))
    return page


def listing_of(channel: ChannelId, code: str, item: Item, as_of: datetime) -> Listing:
    """The listing of an item in one marketplace. Raises Unclear."""
    store = marketplace(code)
    summary = next((one for one in item.summaries if one.marketplace_id == store.id), None)
    if summary is None:
        raise Unclear(f"summaries: nothing is said about {code}")
    if not item.sku:
        raise Unclear("sku: is empty")
    channel_code = fulfillment_channel([one.fulfillment_channel_code for one in item.fulfillment_availability])
    refs = {
        "marketplace": code,
        "productType": summary.product_type,
        "fulfillmentChannel": channel_code,
        "asin": summary.asin,
        "fnSku": summary.fn_sku,
    }
    return Listing(
        id=listing_id(channel, code, ChannelSku(item.sku)),
        channel=channel,
        marketplace=code,
        channel_sku=ChannelSku(item.sku),
        external_id=summary.asin or item.sku,
        status="+".join(summary.status) or "INACTIVE",
        fulfilled_by=FulfilledBy.CHANNEL if amazons(channel_code) else FulfilledBy.MERCHANT,
        as_of=as_of,
        title=summary.item_name,
        price=shown_price(item.offers, store),
        url=f"https://www.{store.domain}/dp/{summary.asin}" if summary.asin else None,
        issues=[
            ListingIssue(issue.code, issue.severity, issue.message)
            for issue in item.issues
            if not issue.marketplace_ids or store.id in issue.marketplace_ids
        ],
        refs={name: value for name, value in refs.items() if value},
    )


def fulfillment_channel(codes: Sequence[str]) -> str:
    """Through which of its channels a listing is sold: Amazon's, once there is one, since an abandoned merchant channel may
    stay beside it; then the merchant's own. Raises Unclear without any."""
    if not codes:
        raise Unclear("fulfillmentAvailability: neither the merchant nor Amazon is said to fulfill it")
    return min(codes, key=lambda code: (not amazons(code), code != OWN))


def amazons(channel_code: str) -> bool:
    """Whether Amazon packs and ships."""
    return channel_code.startswith("AMAZON_")


def own_units(availability: Sequence[Stocked]) -> int | None:
    """What buyers can take of what we pack and ship ourselves; None where Amazon or nobody does, or no number stands."""
    units = {one.fulfillment_channel_code: one.quantity for one in availability}
    return units[OWN] if units and fulfillment_channel(list(units)) == OWN else None


def shown_price(offers: Sequence[Offer], store: Marketplace) -> Money | None:
    """The price for everybody; None without such an offer."""
    offers = [one for one in offers if one.marketplace_id == store.id and one.offer_type == "B2C"]
    for_all = [one for one in offers if one.audience is None or one.audience.value in (None, "ALL")]
    return for_all[0].price.money() if for_all else None


def iso(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, as Amazon writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
