"""From where orders are sent, as clients see, rule and try it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import event as sa_event

from domain.channel import Location
from domain.money import Money
from domain.order import Order, Shipment
from domain.person import Destination
from resolvers.shelf import Shelf
from store import intake
from store.session import Store
from tests.resolvers.platform import own_location
from tests.resolvers.test_shipment import make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ADMIN, STOREFRONT, ask

CHEAP_GRAZ: dict[str, Any] = {
    "goals": ["COST", "PARCELS"],
    "currency": "EUR",
    "zones": [{"name": "austria", "country": "AT"}],
    "rates": [
        {"location": "vienna", "zone": "austria", "parcel": "5.90", "days": 3},
        {"location": "graz", "zone": "austria", "parcel": "3.90", "unit": "0.10", "days": 1},
    ],
}
SET = """mutation($rules: SourcingRulesInput) { setSourcingRules(input: $rules) {
    rules { version madeBy goals mostParcels rates { location parcel } exclusions { name channelId } }
    userErrors { code field message } } }"""
SENT = """fulfillments { id status location { code name kind } value { amount currency }
    lines { orderLineId sku quantity quantityShipped backordered expectedOn } shipments { trackingNumber }
    order { externalId } }"""
PREVIEW = """query($rules: SourcingRulesInput!, $from: DateTime, $to: DateTime) {
    previewSourcingRules(input: $rules, placedFrom: $from, placedTo: $to) {
        examined complete moved priced currency before { parcels cost late lateDays }
        after { parcels cost late lateDays unplaced }
        samples { order { externalId } before { locations cost lateDays } after { locations cost lateDays } reasons } } }"""
MOVE = """mutation($id: ID!, $to: String!) { moveFulfillment(input: {id: $id, toLocation: $to, reason: "strike"}) {
    fulfillment { id location { code } lines { quantity } } userErrors { code field message } } }"""


@pytest.fixture
async def house(store: Store, redis: Redis) -> House:
    made = House(store, redis)
    made.places[3:] = [own_location("vienna"), own_location("graz")]
    await made.list_everywhere("A0", "A1")
    for sku in ("A0", "A1"):
        for code in ("vienna", "graz"):
            await made.book(sku, 10, code)
    return made


@pytest.fixture
def shelf(house: House) -> Shelf:
    return house.shelf


async def came(shelf: Shelf, *orders: Order) -> None:
    async with shelf.store.begin() as tx:
        await intake.keep_orders(tx, orders, own(shelf))


def own(shelf: Shelf) -> list[Location]:
    return [one for one in shelf.locations if one.ours]


def bought(number: str = "1001", quantities: tuple[int, ...] = (2,), **more: Any) -> Order:
    placed_at = datetime.now(UTC) + timedelta(minutes=1)
    values = {"destination": Destination("AT", "801"), "placed_at": placed_at, "updated_at": placed_at}
    return make_order(number, quantities, **values | more)


async def data(shelf: Shelf, query: str, **variables: Any) -> Any:
    found, errors, _ = await ask(shelf, query, **variables)
    assert errors == []
    return found


async def sent(shelf: Shelf, one: Order) -> list[Any]:
    found = await data(shelf, f"query($id: ID!) {{ order(id: $id) {{ {SENT} }} }}", id=f"Order:{one.id}")
    return list(found["order"]["fulfillments"])


async def test_rules_are_kept_by_version_and_an_order_tells_why_it_is_sent_from_there(shelf: Shelf) -> None:
    assert (await data(shelf, "{ sourcingRules { version } }"))["sourcingRules"] is None
    kept = (await data(shelf, SET, rules=CHEAP_GRAZ))["setSourcingRules"]
    assert kept["userErrors"] == []
    one = bought(quantities=(2, 1))
    await came(shelf, one)
    found = await data(
        shelf,
        """query($id: ID!) { order(id: $id) { sourcing { version exact unplaced { sku }
            candidates { location units reason } options { locations reason scores { goal value } } } } }""",
        id=f"Order:{one.id}",
    )
    assert found["order"]["sourcing"] == {
        "version": kept["rules"]["version"],
        "exact": True,
        "unplaced": [],
        "candidates": [
            {"location": "vienna", "units": 0, "reason": "5.90 EUR, not 4.20"},
            {"location": "graz", "units": 3, "reason": None},
        ],
        "options": [
            {
                "locations": ["graz"],
                "reason": None,
                "scores": [{"goal": "COST", "value": "4.20"}, {"goal": "PARCELS", "value": "1"}],
            },
            {
                "locations": ["vienna"],
                "reason": "5.90 EUR, not 4.20",
                "scores": [{"goal": "COST", "value": "5.90"}, {"goal": "PARCELS", "value": "1"}],
            },
        ],
    }
    assert (await data(shelf, SET))["setSourcingRules"] == {"rules": None, "userErrors": []}
    assert (await data(shelf, "{ sourcingRules { version } }"))["sourcingRules"] is None


async def test_rules_that_mean_nothing_are_refused_with_their_path_and_nothing_is_kept(shelf: Shelf) -> None:
    wrong = {**CHEAP_GRAZ, "exclusions": [{"name": "x", "locations": ["graz"], "channelId": "Channel:ebay"}]}
    told = (await data(shelf, SET, rules=wrong))["setSourcingRules"]
    assert [(one["code"], one["field"]) for one in told["userErrors"]] == [
        ("INVALID", ["input", "exclusions", "0", "channelId"])
    ]
    wrong = {**CHEAP_GRAZ, "paces": [{"location": "berlin", "cutOff": "14:00"}]}
    told = (await data(shelf, SET, rules=wrong))["setSourcingRules"]["userErrors"]
    assert told[0]["message"] == "'berlin' is no place that the ledger counts. There is graz, vienna."
    wrong = {**CHEAP_GRAZ, "exclusions": [{"name": "x", "locations": ["graz"], "channelId": "Order:1"}]}
    told = (await data(shelf, SET, rules=wrong))["setSourcingRules"]["userErrors"]
    assert (told[0]["code"], told[0]["field"]) == ("NOT_FOUND", ["input", "exclusions", "0", "channelId"])
    assert (await data(shelf, "{ sourcingRules { version } }"))["sourcingRules"] is None


async def test_each_place_that_sends_is_a_fulfillment_order_and_their_values_are_the_total(
    house: House, shelf: Shelf
) -> None:
    await house.book("A0", -9, "vienna")
    await house.book("A0", -8, "graz")
    one = bought(quantities=(3,), total=Money(Decimal("10.00"), "EUR"))
    await came(shelf, one)
    graz, vienna = await sent(shelf, one)
    line = {"orderLineId": f"OrderLine:{one.lines[0].id}", "sku": "A0", "quantityShipped": 0}
    line |= {"backordered": 0, "expectedOn": None}
    assert graz == {
        "id": f"FulfillmentOrder:{one.id}:graz",
        "status": "OPEN",
        "location": {"code": "graz", "name": "Graz", "kind": "WAREHOUSE"},
        "value": {"amount": "6.67", "currency": "EUR"},
        "lines": [{**line, "quantity": 2}],
        "shipments": [],
        "order": {"externalId": "1001"},
    }
    assert (vienna["value"]["amount"], vienna["lines"]) == ("3.33", [{**line, "quantity": 1}])
    node = "query($id: ID!) { node(id: $id) { id ... on FulfillmentOrder { status location { code } } } }"
    assert (await data(shelf, node, id=graz["id"]))["node"] == {
        "id": graz["id"],
        "status": "OPEN",
        "location": {"code": "graz"},
    }
    assert (await data(shelf, node, id=f"FulfillmentOrder:{one.id}:berlin"))["node"] is None
    _, errors, _ = await ask(shelf, node, STOREFRONT, id=graz["id"])
    assert len(errors) == 1


async def test_a_page_of_orders_reads_fulfillments_and_decisions_in_as_many_statements_as_one_order(
    shelf: Shelf,
) -> None:
    await data(shelf, SET, rules=CHEAP_GRAZ)
    page = f"{{ orders {{ nodes {{ {SENT} sourcing {{ version candidates {{ reason }} }} }} }} }}"

    async def statements() -> tuple[int, int]:
        seen: list[str] = []

        def count(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        engine = shelf.store._engine.sync_engine
        sa_event.listen(engine, "before_cursor_execute", count)
        try:
            nodes = (await data(shelf, page))["orders"]["nodes"]
        finally:
            sa_event.remove(engine, "before_cursor_execute", count)
        return len(seen), sum(len(node["fulfillments"]) for node in nodes)

    await came(shelf, bought("1"))
    one, sent_by_one = await statements()
    await came(shelf, *(bought(str(n), (1, 1)) for n in range(2, 6)))
    assert (await statements(), sent_by_one) == ((one, 5), 1)


async def test_parcels_are_told_where_all_that_has_left_was_from_one_place(shelf: Shelf) -> None:
    one = bought(quantities=(2,))
    await came(shelf, one)
    parcel = Shipment("s1", "DHL", "JD01", one.placed_at)
    line = replace(one.lines[0], quantity_shipped=1)
    await came(shelf, replace(one, lines=[line], shipments=[parcel], updated_at=one.updated_at + timedelta(minutes=1)))
    (vienna,) = await sent(shelf, one)
    assert (vienna["status"], vienna["shipments"]) == ("PARTIALLY_SHIPPED", [{"trackingNumber": "JD01"}])


async def test_a_part_is_sent_from_another_place_or_it_is_said_why_not(house: House, shelf: Shelf) -> None:
    one = bought(quantities=(2,))
    await came(shelf, one)
    (vienna,) = await sent(shelf, one)
    moved = (await data(shelf, MOVE, id=vienna["id"], to="graz"))["moveFulfillment"]
    assert moved == {
        "fulfillment": {
            "id": f"FulfillmentOrder:{one.id}:graz",
            "location": {"code": "graz"},
            "lines": [{"quantity": 2}],
        },
        "userErrors": [],
    }
    for to, code, field in (("graz", "NOT_FOUND", "id"), ("mars", "NOT_FOUND", "toLocation")):
        told = (await data(shelf, MOVE, id=vienna["id"], to=to))["moveFulfillment"]
        assert [(e["code"], e["field"]) for e in told["userErrors"]] == [(code, ["input", field])]
    await house.book("A0", -9, "vienna")
    told = (await data(shelf, MOVE, id=moved["fulfillment"]["id"], to="vienna"))["moveFulfillment"]
    assert told["userErrors"][0]["message"] == "vienna has 1 of A0 free, and 2 are to be moved there."
    long = MOVE.replace("strike", "s" * 201)
    told = (await data(shelf, long, id=moved["fulfillment"]["id"], to="vienna"))["moveFulfillment"]
    assert told["userErrors"][0]["field"] == ["input", "reason"]
    told = (await data(shelf, MOVE, id="Order:x", to="vienna"))["moveFulfillment"]
    assert told["userErrors"][0]["field"] == ["input", "id"]


async def test_a_set_is_tried_on_past_orders_over_the_stock_of_then_and_changes_nothing(
    house: House, shelf: Shelf
) -> None:
    start = datetime.now(UTC).replace(hour=12)  # minutes later it is the same day
    by = start + timedelta(days=2)
    orders = [bought(f"10{n}", (2,), deliver_by=by, placed_at=start + timedelta(minutes=n)) for n in range(1, 4)]
    for one in orders:
        await came(shelf, one)
    # What was there when they came is not there any more.
    await house.book("A0", -10, "graz")
    before = await sent(shelf, orders[0])
    seen = (await data(shelf, PREVIEW, rules=CHEAP_GRAZ))["previewSourcingRules"]
    assert {name: seen[name] for name in ("examined", "complete", "moved", "priced", "currency")} == {
        "examined": 3,
        "complete": True,
        "moved": 3,
        "priced": 3,
        "currency": "EUR",
    }
    assert seen["before"] == {"parcels": 3, "cost": "17.70", "late": 3, "lateDays": seen["before"]["lateDays"]}
    assert seen["before"]["lateDays"] >= 3
    assert seen["after"] == {"parcels": 3, "cost": "12.30", "late": 0, "lateDays": 0, "unplaced": 0}
    assert seen["samples"][0] == {
        "order": {"externalId": "101"},
        "before": {"locations": ["vienna"], "cost": "5.90", "lateDays": 1},
        "after": {"locations": ["graz"], "cost": "4.10", "lateDays": 0},
        "reasons": ["vienna: 5.90 EUR, not 4.10"],
    }
    assert await sent(shelf, orders[0]) == before
    assert (await data(shelf, "{ sourcingRules { version } }"))["sourcingRules"] is None
    some = {"from": orders[1].placed_at.isoformat(), "to": orders[2].placed_at.isoformat()}
    assert (await data(shelf, PREVIEW, rules=CHEAP_GRAZ, **some))["previewSourcingRules"]["examined"] == 1
    dear = {**CHEAP_GRAZ, "rates": CHEAP_GRAZ["rates"][:1]}
    same = (await data(shelf, PREVIEW, rules=dear))["previewSourcingRules"]
    assert (same["moved"], same["samples"]) == (0, [])
    _, errors, _ = await ask(shelf, PREVIEW, ADMIN, rules={**CHEAP_GRAZ, "mostParcels": 0})
    assert len(errors) == 1


async def test_a_set_tried_on_what_it_has_decided_itself_moves_nothing(house: House, shelf: Shelf) -> None:
    await data(shelf, SET, rules=CHEAP_GRAZ)
    await came(shelf, *(bought(f"10{n}", (3, 1)) for n in range(6)))
    seen = (await data(shelf, PREVIEW, rules=CHEAP_GRAZ))["previewSourcingRules"]
    assert (seen["examined"], seen["moved"], seen["before"]["cost"]) == (6, 0, seen["after"]["cost"])
