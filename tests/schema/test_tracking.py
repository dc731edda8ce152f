"""What was told of parcels, as GraphQL tells it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis.asyncio import Redis

from domain.order import Shipment
from domain.tracking import AGED, NewRow, RowKind, read_row
from resolvers.shelf import Shelf
from store import tracking
from store.session import Store
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.workers.test_tracking import AT, WMS, keep, make_order, parcel, seen, tell


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return House(store, redis).shelf


async def test_a_parcel_tells_where_it_is_by_what_was_told_of_it_last(shelf: Shelf) -> None:
    store = shelf.store
    parcels = [
        Shipment("1", "UPS", "1Z999AA10123456784", AT, service="Ground"),
        Shipment("2", "Two Cousins", "X1", AT),
        Shipment("3", "DHL", "JD0001", AT),
    ]
    one = make_order("1001", shipments=parcels)
    await keep(store, one)
    events = [seen("X1", "OUT_FOR_DELIVERY", 30), seen("X1", "IN_TRANSIT", 3), seen("JD0001", "DELIVERED", 24 * 400)]
    await tell(store, "d1", events=events)
    async with store.begin() as tx:
        await tracking.settle(tx, await tracking.claim(tx, 100), {}, AT)
    told, errors, _ = await ask(
        shelf,
        """query($id: ID!) { order(id: $id) {
            shipments { trackingNumber service trackingUrl whereabouts whereaboutsAt } } }""",
        id=f"Order:{one.id}",
    )
    assert errors == []
    first, second, third = told["order"]["shipments"]
    assert (first["service"], first["trackingUrl"], first["whereabouts"]) == (
        "Ground",
        "https://www.ups.com/track?tracknum=1Z999AA10123456784",
        None,
    )
    assert (second["service"], second["trackingUrl"], second["whereabouts"]) == (None, None, "OUT_FOR_DELIVERY")
    assert second["whereaboutsAt"] == (AT + timedelta(hours=30)).isoformat().replace("+00:00", "Z")
    assert third["whereabouts"] is None  # its carrier has given the number again since


async def test_what_has_come_to_nothing_is_listed_by_who_told_it(shelf: Shelf) -> None:
    await tell(shelf.store, "d1", [parcel("1001"), parcel("1002", carrier=None)])
    async with shelf.store.begin() as tx:
        rows = [row for row, _ in await tracking.take_rows(tx, "abc", "Ada", [_row(7, "1009")])]
        await tracking.settle(tx, [*await tracking.claim(tx, 100), *rows], {}, AT + AGED * 2)
    query = """query($source: String, $after: String) { trackingProblems(first: 2, source: $source, after: $after) {
        totalCount pageInfo { hasNextPage endCursor }
        nodes { source delivery row kind order carrier trackingNumber code reason tries retriesAt aged } } }"""
    told, errors, _ = await ask(shelf, query)
    page = told["trackingProblems"]
    assert (errors, page["totalCount"], page["pageInfo"]["hasNextPage"]) == ([], 3, True)
    [newest, unread] = page["nodes"]
    assert (newest["source"], newest["delivery"], newest["row"], newest["order"]) == ("file", "abc", 7, "1009")
    assert (newest["code"], newest["tries"], newest["retriesAt"], newest["aged"]) == ("NOT_FOUND", 1, None, True)
    assert (unread["code"], unread["reason"], unread["carrier"]) == ("INVALID", "`carrier` is missing", None)
    assert (unread["aged"], unread["trackingNumber"], unread["kind"]) == (False, "JD0001", "PARCEL")
    told, errors, _ = await ask(shelf, query, after=page["pageInfo"]["endCursor"])
    assert [one["order"] for one in told["trackingProblems"]["nodes"]] == ["1001"]
    told, errors, _ = await ask(shelf, query, source=WMS.source)
    assert (errors, told["trackingProblems"]["totalCount"]) == ([], 2)


def _row(number: int, order: str) -> NewRow:
    return read_row(number, RowKind.PARCEL, parcel(order), None)
