"""Confirming parcels by feed: seen by tracking number and units, refused in Amazon's words, found again without an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon import order_feeds, plans, shipment_feeds
from adapters.bulk_shipments import BulkShipments, Fate, InFile
from adapters.port import OrderKey, Parcel
from domain.budget import Ask, Purse
from domain.errors import Invalid, OutcomeUnknown, Transient
from domain.route import Way, calls_within, choose, seconds
from tests.adapters.amazon.bench import Desk, Sandbox, go
from tests.adapters.amazon.offers import skus, unhurried

FEEDS = ("createFeedDocument", "createFeed", "getFeed", "getFeeds", "getFeedDocument", "getOrder")


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A small world of its own: time passes quickly in it."""
    started = Sandbox("--products", "50", "--orders", "0", "--marketplaces", "US")
    yield started
    await started.close()


@pytest.fixture
async def desk(sandbox: Sandbox, open_desk: Callable[..., Desk]) -> Desk:
    """An account whose feeds nothing throttles."""
    await sandbox.generous(*FEEDS)
    opened = open_desk(sandbox)
    await unhurried(opened, *FEEDS)
    return opened


def bulk(desk: Desk) -> BulkShipments:
    assert isinstance(desk.port, BulkShipments)
    return desk.port


async def parcels(sandbox: Sandbox, desk: Desk, count: int, first: int) -> list[tuple[OrderKey, Parcel]]:
    """Of new orders of two units each; their references count from `first`."""
    sku = (await skus(sandbox, "US", "MERCHANT"))[0]
    entry = {"marketplace": "US", "fulfilledBy": "MERCHANT", "lines": [{"sku": sku, "quantity": 2}]}
    placed = await sandbox.post("state", {"orders": [entry] * count})
    found = []
    for number, id in enumerate(placed["orders"], start=first):
        key = OrderKey(id, "US", {})
        lines = (((await desk.port.order(key, Ask())).lines[0].external_id, 2),)
        found.append((key, Parcel(str(number), "Vogelpost", f"JD{number}", datetime.now(UTC), lines, "By air")))
    return found


async def told(desk: Desk, key: OrderKey, parcel: Parcel, sent: InFile) -> Fate:
    return await bulk(desk).parcel_in_bulk(key, parcel, sent, Ask())


async def test_a_feed_confirms_its_parcels_and_names_the_one_that_it_does_not(sandbox: Sandbox, desk: Desk) -> None:
    mark = await sandbox.mark()
    good, bad = await parcels(sandbox, desk, 2, 100_101)
    bad = bad[0], replace(bad[1], lines=((bad[1].lines[0][0], 3),))
    at = datetime.now(UTC)
    receipt = await bulk(desk).confirm_in_bulk([good, bad], Ask(), go)
    sent = InFile(at, receipt.reference)
    assert (await told(desk, *good, sent)).again_s is not None
    calls = len(await sandbox.calls(mark, "getFeed"))
    assert (await told(desk, *bad, sent)).again_s is not None
    assert len(await sandbox.calls(mark, "getFeed")) == calls  # one look at the feed is enough for both
    await worked_through(sandbox, desk)
    seen = await told(desk, *good, sent)
    assert seen.sighting is not None
    assert seen.sighting.found
    assert seen.sighting.order is not None
    [shipment] = seen.sighting.order.shipments
    assert (shipment.carrier, shipment.tracking_number, shipment.service) == ("Vogelpost", "JD100101", "By air")
    against = (await told(desk, *bad, sent)).refused
    assert against is not None
    assert against.message.startswith("Amazon did not confirm it: Quantity: 3 is more than the 2 not yet shipped")
    effects = [one for one in await sandbox.effects(mark) if one["operation"] == "confirmShipment"]
    assert [(one["key"], one["detail"]["feedId"]) for one in effects] == [(good[0].external_id, receipt.reference)]
    other = await told(desk, good[0], replace(good[1], tracking_number="JD1"), sent)
    assert other.sighting is not None
    assert not other.sighting.found


async def worked_through(sandbox: Sandbox, desk: Desk) -> None:
    """Amazon is done with the feeds there are, their parcels show, and a feed may be looked at again."""
    for _ in range(2):
        await sandbox.post("clock", {"advance": 120})
        await sandbox.get("feeds")  # what is due by now comes about when somebody looks
    desk.port._shipment_feeds._feeds._open_until.clear()  # type: ignore[attr-defined]


async def test_without_an_answer_it_is_found_by_the_feed_that_was_made_then(sandbox: Sandbox, desk: Desk) -> None:
    [one] = await parcels(sandbox, desk, 1, 100_201)
    nowhere = InFile(datetime.now(UTC))
    await sandbox.post("faults", {"faults": [{"operation": "createFeed", "kind": "apply_then_reset", "count": 1}]})
    with pytest.raises(OutcomeUnknown):
        await bulk(desk).confirm_in_bulk([one], Ask(), go)
    assert (await told(desk, *one, nowhere)).again_s is not None
    await worked_through(sandbox, desk)
    seen = await told(desk, *one, nowhere)
    assert seen.sighting is not None
    assert seen.sighting.found


async def test_a_report_that_cannot_be_read_keeps_no_parcel_from_being_seen(
    sandbox: Sandbox, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(feed_id: str, _: bytes) -> dict[int, str]:
        raise Transient(f"The report of the feed {feed_id} cannot be read.")

    monkeypatch.setattr(order_feeds, "failures", cut)
    there, bad = await parcels(sandbox, desk, 2, 100_501)
    bad = bad[0], replace(bad[1], lines=((bad[1].lines[0][0], 3),))
    at = datetime.now(UTC)
    receipt = await bulk(desk).confirm_in_bulk([there, bad], Ask(), go)
    await worked_through(sandbox, desk)
    mark = await sandbox.mark()
    seen = await told(desk, *there, InFile(at, receipt.reference))
    assert seen.sighting is not None
    assert seen.sighting.found
    assert (await told(desk, *bad, InFile(at, receipt.reference))).again_s is not None
    assert len(await sandbox.calls(mark, "getFeedDocument")) == 1  # once for both
    with pytest.raises(Transient):
        await told(desk, *bad, InFile(at - shipment_feeds.PATIENCE, receipt.reference))


async def test_a_feed_that_took_hours_leaves_its_parcels_time_to_show(
    sandbox: Sandbox, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await parcels(sandbox, desk, 1, 100_601)
    receipt = await bulk(desk).confirm_in_bulk([one], Ask(), go)
    await worked_through(sandbox, desk)
    not_yet = one[0], replace(one[1], tracking_number="JD2")
    sent = InFile(datetime.now(UTC) - timedelta(hours=2), receipt.reference)
    assert (await told(desk, *not_yet, sent)).again_s == shipment_feeds.SOON_S
    monkeypatch.setattr(shipment_feeds, "SHOWN", timedelta(0))
    assert (await told(desk, *not_yet, sent)).sighting is not None


async def test_where_no_feed_was_made_the_order_alone_tells(sandbox: Sandbox, desk: Desk) -> None:
    await sandbox.post("clock", {"advance": 1200})
    [one] = await parcels(sandbox, desk, 1, 100_301)
    at = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    seen = await told(desk, *one, InFile(at))
    assert seen.sighting is not None
    assert not seen.sighting.found


async def test_parcels_of_two_marketplaces_share_no_feed(sandbox: Sandbox, desk: Desk) -> None:
    [one] = await parcels(sandbox, desk, 1, 100_401)
    mark = await sandbox.mark()
    with pytest.raises(Invalid):
        await bulk(desk).confirm_in_bulk([one, (OrderKey("1", None), one[1])], Ask(), go)
    assert await sandbox.calls(mark, "createFeedDocument") == []


async def test_few_are_left_to_single_calls(desk: Desk) -> None:
    assert await bulk(desk).for_bulk(shipment_feeds.LEAST - 1) == 0
    assert await bulk(desk).for_bulk(200) == 0  # single calls are there before a feed is done
    assert 0 < await bulk(desk).for_bulk(4000) < 4000 - 2 * 500


@given(waiting=st.integers(0, 60_000), saved=st.floats(0, 10), ahead=st.integers(0, 500))
def test_whatever_is_left_to_single_calls_is_there_before_the_feed(waiting: int, saved: float, ahead: int) -> None:
    single, feed = shipment_feeds.routes(plans.PLANS, waiting)
    used = {step.plan.operation: step.plan for route in (single, feed) for step in route.steps}
    purses = {name: Purse(plan.burst, plan.rate, plan.burst) for name, plan in used.items()}
    purses["confirmShipment"] = Purse(saved, 2.0, 10.0, ahead=ahead)
    feed_s = seconds(feed, purses)
    left = calls_within(single.steps[0], purses, feed_s)
    fewer, _ = shipment_feeds.routes(plans.PLANS, left)
    assert 0 <= left <= waiting
    assert seconds(fewer, purses) <= feed_s
    if left < waiting:
        assert seconds(shipment_feeds.routes(plans.PLANS, left + 1)[0], purses) > feed_s
        assert choose((single, feed), purses).taken.route.way is Way.BULK
