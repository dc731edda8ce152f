"""Having pools ship orders: what is kept, what is refused, and that no unit is promised twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import insert, select, update

from domain.channel import Location, LocationKind, Platform
from domain.errors import Conflict, HouseError, Invalid, NotFound
from domain.ids import ChannelId, ChannelSku, LocationCode, OperationId, OrderId, Sku, line_id, listing_id, order_id
from domain.operation import READERS, Capability, Kind, OperationStatus
from domain.order import Order, OrderLine, OrderStatus
from domain.outbound import OutboundStatus, Wanted
from domain.outbound_request import OutboundRequest
from domain.person import Person, Recipient
from domain.product import FulfilledBy, Listing
from domain.shipment import ShippedLine
from resolvers import operation, order_queue, outbound, outbound_return, shipment
from resolvers.order_queue import QueueFilter
from resolvers.outbound_return import ReturnRequest
from resolvers.shelf import Shelf
from store import allocation, ledger, order, person, product
from store import outbound as kept_outbound
from store.keyring import Keyring
from store.session import Store
from store.tables import operation_item, outbound_order, outbound_package
from store.tables import order as order_table
from tests.resolvers.platform import StockPlatform
from tests.resolvers.test_shipment import CountingBell, parcel
from tests.resolvers.test_stock import House
from tests.store.warehouse import PLACES, entry

NOW = datetime.now(UTC)
SHOP, AMAZON, OTHER = ChannelId("shop"), ChannelId("amazon-us"), ChannelId("amazon-eu")
RING = Keyring([Fernet.generate_key().decode()])
STREET = "1917 Quince Hollow Lane"
BUYER = Person("Ottilie", "o@example.com", Recipient("US", "Ottilie", STREET, city="Seattle", postal_code="98103"))


def pool(code: str, keeper: ChannelId, country: str) -> Location:
    return Location(LocationCode(code), f"FBA {country}", LocationKind.FBA, keeper, country, (country,))


POOLS = [pool("fba-us", AMAZON, "US"), pool("fba-de", OTHER, "DE"), pool("fba-uk", OTHER, "UK")]


class Warehouse(StockPlatform):
    """It ships for others; nobody here asks it to."""

    outbound = SimpleNamespace(no_returns="")


@pytest.fixture
def bell() -> CountingBell:
    return CountingBell()


@pytest.fixture
async def shelf(store: Store, redis: Redis, bell: CountingBell) -> Shelf:
    """A MUG that both accounts hold, in the US as MUG-FBA, and a BOWL that nobody does."""
    ports: dict[ChannelId, Any] = {
        SHOP: StockPlatform("shop", Platform.SHOPIFY),
        AMAZON: Warehouse("amazon-us", Platform.AMAZON),
        OTHER: Warehouse("amazon-eu", Platform.AMAZON),
    }
    offers = [
        listed(AMAZON, "US", "MUG-FBA", "MUG"),
        listed(OTHER, "DE", "MUG", "MUG"),
        listed(SHOP, None, "MUG", "MUG", FulfilledBy.MERCHANT),
        listed(SHOP, None, "BOWL", "BOWL", FulfilledBy.MERCHANT),
    ]
    async with store.begin() as tx:
        await product.upsert_listings(tx, offers)
    channels = {id: port.channel for id, port in ports.items()}
    return replace(House(store, redis).shelf, bell=bell, ports=ports, channels=channels, locations=POOLS)


def listed(
    channel: ChannelId, country: str | None, theirs: str, ours: str, by: FulfilledBy = FulfilledBy.CHANNEL
) -> Listing:
    name = ChannelSku(theirs)
    id = listing_id(channel, country, name)
    return Listing(id, channel, country, name, f"X-{theirs}", "ACTIVE", by, NOW, sku=Sku(ours), title=ours)


async def placed(shelf: Shelf, number: str = "1001", *, address: bool = True, sku: str = "MUG", **more: Any) -> Order:
    """An open order of three units, and whom it is for."""
    channel = more.get("channel", SHOP)
    id = order_id(channel, number)
    values: dict[str, Any] = {
        "status": OrderStatus.UNSHIPPED,
        "fulfilled_by": FulfilledBy.MERCHANT,
        "placed_at": NOW - timedelta(days=1),
        "updated_at": NOW - timedelta(hours=1),
        "lines": [OrderLine(line_id(id, "L0"), "L0", ChannelSku(sku), 3, 0, Sku(sku))],
        "refs": {"name": f"#{number}"},
        "person": BUYER if address else None,
        "channel": channel,
    }
    one = Order(id=id, marketplace=None, external_id=number, channel_status="OPEN", **(values | more))
    async with shelf.store.begin() as tx:
        await order.upsert(tx, [one])
        await person.keep(tx, RING, [one])
    return one


async def ship(shelf: Shelf, *requests: OutboundRequest, key: str | None = None, dry_run: bool = False) -> Any:
    return await outbound.ship(shelf, "client", "r-1", requests, idempotency_key=key, dry_run=dry_run)


async def payloads(shelf: Shelf) -> list[dict[str, Any]]:
    async with shelf.store.begin() as tx:
        rows = await tx.execute(select(operation_item.c.payload, operation_item.c.after).order_by(operation_item.c.id))
        return [{**row.payload, "told": row.after} for row in rows]


async def test_an_operation_is_kept_and_its_lane_is_rung(shelf: Shelf, bell: CountingBell) -> None:
    one = await placed(shelf)
    kept = await ship(shelf, OutboundRequest(one.id, AMAZON))
    assert kept.problems == []
    assert (kept.operation.kind, kept.operation.status) == (Kind.SHIP_FROM_FBA, OperationStatus.QUEUED)
    (payload,) = await payloads(shelf)
    wanted = Wanted.from_json(payload)
    assert (wanted.location, wanted.marketplace, wanted.shown_id) == ("fba-us", "US", "#1001")
    assert [(line.channel_sku, line.quantity) for line in wanted.lines] == [("MUG-FBA", 3)]
    assert len(wanted.id) <= 40
    assert bell.rung == [(AMAZON, Capability.OUTBOUND)]
    # Whom it is for stands nowhere but under lock.
    assert not any(word in json.dumps(payload) for word in ("Ottilie", "Quince", "98103", "example.com"))


async def test_a_repeated_key_answers_the_first_operation(shelf: Shelf) -> None:
    one = await placed(shelf)
    request = OutboundRequest(one.id, AMAZON)
    first = await ship(shelf, request, key="k")
    again = await asyncio.gather(*(ship(shelf, request, key="k") for _ in range(4)))
    assert {kept.operation.id for kept in again} == {first.operation.id}
    assert len(await payloads(shelf)) == 1
    other = await ship(shelf, replace(request, lines=(ShippedLine(one.lines[0].id, 1),)), key="k")
    assert [problem.code for problem in other.problems] == ["CONFLICT"]


async def test_of_parallel_wishes_one_gets_the_units(shelf: Shelf) -> None:
    one = await placed(shelf)
    kept = await asyncio.gather(*(ship(shelf, OutboundRequest(one.id, AMAZON), key=f"k{n}") for n in range(6)))
    assert sum(each.operation is not None for each in kept) == 1
    assert len(await payloads(shelf)) == 1


async def test_what_a_pool_ships_nobody_confirms_from_elsewhere(shelf: Shelf) -> None:
    one = await placed(shelf)
    await ship(shelf, OutboundRequest(one.id, AMAZON, lines=(ShippedLine(one.lines[0].id, 2),)))
    wrong = await shipment.confirm(
        shelf, "client", "r", [parcel(one, "JD01", (0, 2))], idempotency_key=None, dry_run=False
    )
    assert [problem.message for problem in wrong.problems] == ["2 units cannot ship: 1 of this line are open."]
    fine = await shipment.confirm(
        shelf, "client", "r", [parcel(one, "JD02", (0, 1))], idempotency_key=None, dry_run=False
    )
    assert fine.problems == []
    rest = await ship(shelf, OutboundRequest(one.id, AMAZON))
    assert [problem.message for problem in rest.problems] == ["Nothing of order 1001 is left to ship."]


@pytest.mark.parametrize(
    ("changes", "request_of", "kind", "field", "words"),
    [
        ({}, {"order": OrderId("gone")}, NotFound, "orderId", "There is no order"),
        ({}, {"channel": ChannelId("nowhere")}, NotFound, "channelId", "There is no channel"),
        ({}, {"channel": SHOP}, Invalid, "channelId", "name an Amazon account"),
        ({"channel": AMAZON}, {}, Invalid, "orderId", "was sold at amazon-us"),
        ({"fulfilled_by": FulfilledBy.CHANNEL}, {}, Invalid, "orderId", "shipped by its channel"),
        ({"status": OrderStatus.SHIPPED}, {}, Conflict, "orderId", "is SHIPPED"),
        ({"address": False}, {}, Invalid, "orderId", "buyers = true"),
        ({"sku": "BOWL"}, {}, Invalid, "orderId", "not offered from fba-us"),
        ({}, {"channel": OTHER}, Invalid, "location", "name one of fba-de, fba-uk"),
        ({}, {"location": LocationCode("BER")}, Invalid, "location", "has no pool BER"),
        ({}, {"lines": ()}, Invalid, "lines", "Name at least one line"),
    ],
)
async def test_what_cannot_be_shipped_so_is_refused_with_the_field(
    shelf: Shelf,
    bell: CountingBell,
    changes: dict[str, Any],
    request_of: dict[str, Any],
    kind: type[HouseError],
    field: str,
    words: str,
) -> None:
    one = await placed(shelf, **changes)
    asked = OutboundRequest(**({"order": one.id, "channel": AMAZON} | request_of))
    kept = await ship(shelf, asked)
    (problem,) = kept.problems
    assert (type(problem), problem.field) == (kind, ("orders", "0", field))
    assert words in problem.message
    assert (kept.operation, await payloads(shelf), bell.rung) == (None, [], [])


async def test_a_held_order_stays(shelf: Shelf) -> None:
    one = await placed(shelf)
    async with shelf.store.begin() as tx:
        await tx.execute(update(order_table).where(order_table.c.id == one.id).values(held="FRAUD by somebody."))
    kept = await ship(shelf, OutboundRequest(one.id, AMAZON))
    assert [problem.code for problem in kept.problems] == ["CONFLICT"]
    assert "is held" in kept.problems[0].message


async def previewed(shelf: Shelf, one: Order, quote: dict[str, Any] | None) -> OperationId:
    """A PREVIEW whose item a worker has filled with `quote`."""
    kept = await ship(shelf, OutboundRequest(one.id, AMAZON), dry_run=True)
    assert (kept.operation.status, kept.operation.dry_run) == (OperationStatus.PREVIEW, True)
    if quote is not None:
        async with shelf.store.begin() as tx:
            changed = operation_item.c.payload.op("||")({"quote": quote})
            await tx.execute(update(operation_item).values(payload=changed))
    id: OperationId = kept.operation.id
    return id


def quoted(*, possible: bool) -> dict[str, Any]:
    nothing = dict.fromkeys(("shipsFrom", "shipsUntil", "arrivesFrom", "arrivesUntil"))
    speed = {"speed": "STANDARD", "possible": possible, **nothing, "fees": [], "shortfalls": [], "reasons": ["NoUnits"]}
    return {"preview": {"asOf": NOW.isoformat(), "upstreamRequestId": None, "speeds": [speed]}}


@pytest.mark.parametrize(
    ("quote", "kind", "words"),
    [
        (None, Conflict, "still being asked for"),
        ({"refused": {"code": "INVALID", "message": "Nobody lives there."}}, Conflict, "Nobody lives there"),
        (quoted(possible=False), Conflict, "NoUnits"),
    ],
)
async def test_nothing_is_approved_that_could_not_be_shipped(
    shelf: Shelf, bell: CountingBell, quote: dict[str, Any] | None, kind: type[HouseError], words: str
) -> None:
    id = await previewed(shelf, await placed(shelf), quote)
    with pytest.raises(kind, match=words):
        await operation.approve(shelf, id, "boss", frozenset(READERS))
    assert bell.rung == []


async def test_an_approved_preview_goes_out_unless_its_order_has_changed(shelf: Shelf, bell: CountingBell) -> None:
    one, other = await placed(shelf), await placed(shelf, "1002")
    first, second = [await previewed(shelf, each, None) for each in (one, other)]
    async with shelf.store.begin() as tx:
        changed = operation_item.c.payload.op("||")({"quote": quoted(possible=True)})
        await tx.execute(update(operation_item).values(payload=changed))
        await order.upsert(tx, [replace(other, status=OrderStatus.CANCELLED, updated_at=NOW)])
    approved = await operation.approve(shelf, first, "boss", frozenset(READERS))
    assert (approved.status, bell.rung) == (OperationStatus.QUEUED, [(AMAZON, Capability.OUTBOUND)])
    with pytest.raises(Conflict, match="#1002"):
        await operation.approve(shelf, second, "boss", frozenset(READERS))


async def test_what_was_taken_can_be_cancelled_while_it_is_not_too_late(shelf: Shelf, bell: CountingBell) -> None:
    one = await placed(shelf)
    kept = await ship(shelf, OutboundRequest(one.id, AMAZON))
    (payload,) = await payloads(shelf)
    wanted = Wanted.from_json(payload)
    unknown = await outbound.cancel(shelf, "client", "r", [wanted.id], idempotency_key=None)
    assert [(problem.code, problem.field) for problem in unknown.problems] == [("NOT_FOUND", ("ids", "0"))]
    async with shelf.store.begin() as tx:
        assert await kept_outbound.take(tx, wanted, kept.operation.id, None)
        assert not await kept_outbound.take(tx, wanted, kept.operation.id, None)
    done = await outbound.cancel(shelf, "client", "r", [wanted.id], idempotency_key="c")
    again = await outbound.cancel(shelf, "client", "r", [wanted.id], idempotency_key="c")
    assert done.operation is not None
    assert done.operation.kind is Kind.CANCEL_OUTBOUND
    assert again.operation == done.operation
    assert (await payloads(shelf))[1]["outbound_id"] == wanted.id
    assert bell.rung[-1] == (AMAZON, Capability.OUTBOUND)
    async with shelf.store.begin() as tx:
        await tx.execute(update(outbound_order).values(status=OutboundStatus.COMPLETE.value))
    late = await outbound.cancel(shelf, "client", "r", [wanted.id], idempotency_key=None)
    assert [problem.message for problem in late.problems] == [
        f"It is too late to cancel {wanted.id}: it stands at COMPLETE."
    ]


async def test_units_that_lie_nowhere_stand_in_the_way_until_a_pool_is_to_ship_them(shelf: Shelf) -> None:
    one = await placed(shelf)
    async with shelf.store.begin() as tx:
        await ledger.post(tx, [entry(Sku("MUG"), 1)])
        await allocation.settle(tx, [one], [*PLACES, *POOLS])

    async def obstacles() -> list[str]:
        (found,) = (await order_queue.page(shelf, 10, None, QueueFilter())).nodes
        return found.obstacles((await order_queue.nowhere(shelf, [one.id])).get(one.id))

    assert [words[:24] for words in await obstacles()] == ["2 units were sold beyond", "2 units lie at no place "]
    kept = await ship(shelf, OutboundRequest(one.id, AMAZON))
    (payload,) = await payloads(shelf)
    async with shelf.store.begin() as tx:
        await kept_outbound.take(tx, Wanted.from_json(payload), kept.operation.id, None)
    assert [words[:24] for words in await obstacles()] == ["2 units were sold beyond"]


async def test_what_a_pool_does_not_ship_stands_in_the_way_still(shelf: Shelf) -> None:
    one = await placed(shelf)
    async with shelf.store.begin() as tx:
        await ledger.post(tx, [entry(Sku("MUG"), 1)])
        await allocation.settle(tx, [one], [*PLACES, *POOLS])
    line = one.lines[0].id
    kept = await ship(shelf, OutboundRequest(one.id, AMAZON, lines=(ShippedLine(line, 1),)))
    (payload,) = await payloads(shelf)
    wanted = Wanted.from_json(payload)
    async with shelf.store.begin() as tx:
        await kept_outbound.take(tx, wanted, kept.operation.id, None)
    assert await order_queue.nowhere(shelf, [one.id]) == {}
    # The pool's own count is without its unit now: of the two others one lies here.
    async with shelf.store.begin() as tx:
        await kept_outbound.counted(tx, [wanted.id])
        followed = (await kept_outbound.by_orders(tx, [one.id]))[one.id]
        await allocation.leave_to_pools(tx, one, kept_outbound.at_pools(followed))
        await allocation.settle(tx, [one], [*PLACES, *POOLS])
    assert (await order_queue.nowhere(shelf, [one.id]))[one.id].units == 1


async def brought(shelf: Shelf, one: Order, units: int, whereabouts: str = "DELIVERED") -> str:
    """A pool has sent the order, and so many units of it are there; the outbound order's id."""
    kept = await ship(shelf, OutboundRequest(one.id, AMAZON))
    wanted = Wanted.from_json((await payloads(shelf))[-1])
    parcel = {"outbound_id": wanted.id, "id": "1", "shipped_at": NOW, "whereabouts": whereabouts}
    async with shelf.store.begin() as tx:
        await kept_outbound.take(tx, wanted, kept.operation.id, None)
        await tx.execute(update(operation_item).values(status="VERIFIED"))
        await tx.execute(insert(outbound_package).values(parcel | {"lines": [[wanted.lines[0].line, units]]}))
    return wanted.id


async def send_back(shelf: Shelf, one: Order, units: int | None = None, key: str | None = None) -> Any:
    lines = None if units is None else (ShippedLine(one.lines[0].id, units),)
    request = ReturnRequest(one.id, "CR-DEFECTIVE", "Handle broken", lines)
    return await outbound_return.announce(shelf, "client", "r", request, idempotency_key=key)


async def test_what_was_delivered_can_come_back_once(shelf: Shelf, bell: CountingBell) -> None:
    one = await placed(shelf)
    id = await brought(shelf, one, 2)
    kept = await send_back(shelf, one, 1, "k")
    assert kept.problems == []
    assert (await send_back(shelf, one, 1, "k")).operation == kept.operation
    assert (kept.operation.kind, bell.rung[-1]) == (Kind.RETURN_OUTBOUND, (AMAZON, Capability.OUTBOUND))
    payload = (await payloads(shelf))[-1]
    assert (payload["outbound_id"], [line for _, line in payload["units"]]) == (id, [one.lines[0].id])
    # One of the two is on its way back already, whether or not Amazon has taken it yet.
    (problem,) = (await send_back(shelf, one, 2)).problems
    assert (problem.code, problem.field) == ("INVALID", ("lines", "0", "quantity"))
    assert problem.message.startswith("2 units cannot come back: 1 of this line were delivered")
    rest = await send_back(shelf, one)
    assert len((await payloads(shelf))[-1]["units"]) == 1
    assert rest.problems == []
    assert [each.code for each in (await send_back(shelf, one)).problems] == ["CONFLICT"]


async def test_nothing_comes_back_that_was_not_delivered(shelf: Shelf, bell: CountingBell) -> None:
    one, other = await placed(shelf), await placed(shelf, "1002")
    await brought(shelf, one, 3, "OUT_FOR_DELIVERY")
    for order_of in (one, other):
        (problem,) = (await send_back(shelf, order_of)).problems
        assert "`Order.outbound` tells where it is" in problem.message
    gone = ReturnRequest(OrderId("gone"), "CR-DEFECTIVE")
    (problem,) = (await outbound_return.announce(shelf, "client", "r", gone, idempotency_key=None)).problems
    assert (problem.code, problem.field) == ("NOT_FOUND", ("orderId",))


async def test_a_version_without_returns_says_what_to_do(shelf: Shelf) -> None:
    one = await placed(shelf)
    await brought(shelf, one, 3)
    ports: Any = dict(shelf.ports)
    ports[AMAZON].outbound = SimpleNamespace(no_returns="Set outbound_version to 2020-07-01.")
    try:
        (problem,) = (await send_back(shelf, one)).problems
    finally:
        del ports[AMAZON].outbound
    assert (problem.code, problem.message) == ("INVALID", "Set outbound_version to 2020-07-01.")
