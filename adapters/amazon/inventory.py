"""FBA stock. Source: FBA Inventory v1, getInventorySummaries."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from adapters.amazon.client import Client
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.paging import Tokens
from adapters.amazon.wire import Count, Pagination, rejected
from adapters.port import ABREAST, Page, StockKey
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask, Plan
from domain.channel import Location
from domain.errors import Invalid, Transient
from domain.ids import ChannelId, ChannelSku
from domain.product import Rejected
from domain.route import Route, Step, Way
from domain.stock import PoolUnits, Reading

OPERATION = "getInventorySummaries"
PATH = "/fba/inventory/v1/summaries"
BATCH = 50

# What an answer takes.
CALL_S = 0.3

# A page token dies 30 s after Amazon made it; the answer's way here and the next request's way there must fit in.
TOKEN_LIFE_S = 25.0
SWEEPS = 3


class Reserved(Wire):
    """Units promised: to orders, between centers, being measured."""

    total_reserved_quantity: Count
    pending_customer_order_quantity: Count | None = None
    pending_transshipment_quantity: Count | None = None
    fc_processing_quantity: Count | None = None


class Researched(Wire):
    """Units that Amazon looks for."""

    total_researching_quantity: Count | None = None


class Unfulfillable(Wire):
    """Units that cannot be sold, of all kinds of damage."""

    total_unfulfillable_quantity: Count | None = None


class Details(Wire):
    """Counts of one SKU. We ask with details=true, so one that is summed and yet missing is no zero; the others only inform."""

    fulfillable_quantity: Count
    reserved_quantity: Reserved
    inbound_working_quantity: Count
    inbound_shipped_quantity: Count
    inbound_receiving_quantity: Count
    researching_quantity: Researched | None = None
    unfulfillable_quantity: Unfulfillable | None = None

    def units(self, fn_sku: str | None) -> PoolUnits:
        """Each kind alone."""
        researched, broken = self.researching_quantity, self.unfulfillable_quantity
        return PoolUnits(
            fn_sku=fn_sku,
            fulfillable=self.fulfillable_quantity,
            inbound_working=self.inbound_working_quantity,
            inbound_shipped=self.inbound_shipped_quantity,
            inbound_receiving=self.inbound_receiving_quantity,
            reserved_orders=self.reserved_quantity.pending_customer_order_quantity,
            reserved_transshipment=self.reserved_quantity.pending_transshipment_quantity,
            reserved_processing=self.reserved_quantity.fc_processing_quantity,
            researching=None if researched is None else researched.total_researching_quantity,
            unfulfillable=None if broken is None else broken.total_unfulfillable_quantity,
        )


class Summary(Wire):
    """One SKU in one marketplace. `fn_sku` is the label its units carry."""

    seller_sku: str
    fn_sku: str | None = None
    inventory_details: Details


class Payload(Wire):
    """The part of the answer that Amazon wraps."""

    inventory_summaries: list[object]


class Answer(Wire):
    """One page."""

    payload: Payload
    pagination: Pagination = Pagination()


@dataclass(slots=True)
class Sheet:
    """One page, read; `token` asks for the next one, `received_at` (monotonic) is when it came, `request_id` is the call."""

    readings: list[Reading]
    rejected: list[Rejected] = field(default_factory=list)
    token: str | None = None
    received_at: float = 0.0
    request_id: str | None = None


def routes(plan: Plan, pools: int, keys: int | None, known: int) -> list[Route]:
    """The ways of this API to read so many `keys` (None: all there is) of `known` SKUs in each of `pools`; `plan` is that of
    getInventorySummaries. Amazon tells 50 SKUs a page, whether it is asked for them or lists them."""
    wanted = known if keys is None else keys

    def asking(way: Way, size: int) -> Route:
        return Route(way, (Step(plan, pools * math.ceil(wanted / size), call_s=CALL_S, abreast=ABREAST),))

    pages = Step(plan, pools * max(1, math.ceil(known / BATCH)), call_s=CALL_S)
    walk = Route(Way.PAGES, (pages,), whole=True, longest_pause_s=TOKEN_LIFE_S)
    return [asking(Way.BATCH, BATCH), asking(Way.SINGLE, 1), walk]


async def stock(client: Client, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
    """One reading for each pool and key, zeros for a SKU that Amazon does not know there.

    Raises Transient when a SKU that was asked for comes back unreadable: a zero would pass for a count.
    """
    skus = list(dict.fromkeys(key.channel_sku for key in keys))
    if len(skus) > BATCH:
        raise Invalid(f"{OPERATION} takes {BATCH} SKUs at most; {len(skus)} were given.")
    if not skus:
        return []
    return [reading for location in locations for reading in await _of_skus(client, location, skus, ask)]


async def _of_skus(client: Client, location: Location, skus: list[ChannelSku], ask: Ask) -> list[Reading]:
    as_of = datetime.now(UTC)
    found: dict[ChannelSku, Reading] = {}
    token, tokens = None, Tokens(OPERATION)
    while True:
        sheet = await _sheet(client, location, ask, skus, token)
        if sheet.rejected:
            broken = sheet.rejected[0]
            raise Transient(f"{OPERATION} told of {broken.key} what cannot be read: {broken.reason}.")
        found |= {reading.channel_sku: reading for reading in sheet.readings}
        token = tokens.next(sheet.token)
        if token is None:
            break
    return [
        found.get(sku) or Reading(location.code, client.channel, sku, 0, 0, 0, as_of, sheet.request_id) for sku in skus
    ]


async def stock_pages(client: Client, locations: Sequence[Location], ask: Ask) -> AsyncIterator[Page[Reading]]:
    """Every SKU of each pool, once. A sweep whose page token died begins again, and what it told before is left out."""
    started_at = datetime.now(UTC)
    for place, location in enumerate(locations, start=1):
        told: set[ChannelSku] = set()
        async for sheet in _sweep(client, location, ask):
            new = [one for one in sheet.readings if one.channel_sku not in told]
            told.update(one.channel_sku for one in new)
            ended = sheet.token is None and place == len(locations)
            yield Page(new, sheet.rejected, until=started_at if ended else None)


async def _sweep(client: Client, location: Location, ask: Ask) -> AsyncIterator[Sheet]:
    """The pages of one pool. Raises Transient when its token died in each of `SWEEPS` sweeps."""
    for _ in range(SWEEPS):
        last, tokens = Sheet([]), Tokens(OPERATION)
        while last.token is None or time.monotonic() - last.received_at < TOKEN_LIFE_S:
            try:
                sheet = await _sheet(client, location, ask, (), last.token)
            except Invalid:
                # The budget may have kept the call waiting until the token was dead. Without a token it is a real refusal.
                if last.token is None:
                    raise
                break
            ended = tokens.next(sheet.token) is None
            yield sheet
            if ended:
                return
            last = sheet
    raise Transient(f"{OPERATION} of {location.name} could not be read to its end within the 30 s a page token lives.")


async def _sheet(client: Client, location: Location, ask: Ask, skus: Sequence[ChannelSku], token: str | None) -> Sheet:
    store = marketplace(location.external_id).id
    query: dict[str, str | Sequence[str]] = {
        "details": "true",
        "granularityType": "Marketplace",
        "granularityId": store,
        "marketplaceIds": [store],
    }
    if skus:
        query["sellerSkus"] = skus
    if token:
        query["nextToken"] = token
    as_of = datetime.now(UTC)
    answer, request_id = await client.get_with_id(OPERATION, PATH, query, ask, Answer)
    sheet = Sheet([], token=answer.pagination.next_token or None, received_at=time.monotonic(), request_id=request_id)
    for raw in answer.payload.inventory_summaries:
        try:
            sheet.readings.append(_reading(client.channel, location, read(Summary, raw), as_of, request_id))
        except Unclear as problem:
            sheet.rejected.append(rejected(client.channel, "stock", "sellerSku", raw, problem))
    return sheet


def _reading(
    channel: ChannelId, location: Location, summary: Summary, as_of: datetime, request_id: str | None
) -> Reading:
    """Amazon's total quantity also counts what is inbound, lost and damaged; ours is what lies there and can be sold."""
    details = summary.inventory_details
    reserved = details.reserved_quantity.total_reserved_quantity
    return Reading(
        location=location.code,
        channel=channel,
        channel_sku=ChannelSku(summary.seller_sku),
        on_hand=details.fulfillable_quantity + reserved,
        reserved=reserved,
        inbound=(
            details.inbound_working_quantity + details.inbound_shipped_quantity + details.inbound_receiving_quantity
        ),
        as_of=as_of,
        upstream_request_id=request_id,
        units=details.units(summary.fn_sku),
    )
