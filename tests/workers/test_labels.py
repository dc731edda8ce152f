"""What becomes of labels, whatever crashes and whatever the carrier answers: each is bought once, and given back once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import func, select, update

from adapters.budget import Budgets
from adapters.carrier.labels import CarrierLabels
from adapters.fulfillment import LabelShop
from adapters.rest.client import RestClient
from adapters.rest.config import RestConfig
from adapters.tokens import TokenStore
from adapters.transport import Limits, Transport
from domain.channel import Channel, Location, LocationKind, Platform
from domain.ids import ChannelId, LocationCode, OperationId
from domain.label import Box, KeptLabel, LabelFormat, LabelStatus, LabelWanted, Purchase, Wish
from domain.operation import Capability, Kind, NewItem, OperationStatus
from domain.order import Order, OrderStatus, Shipment
from domain.outbound import Whereabouts
from domain.package import Package
from domain.person import Person, Recipient
from domain.timeline import StepKind
from sandbox.visit import serving
from store import label, operation, order, person, privacy, timeline
from store.keyring import Keyring
from store.session import Store
from store.tables import event, operation_item
from store.tables import label as label_table
from tests.adapters.amazon.parcels import DEPOT
from tests.adapters.bench import NeverUsed, Sandbox
from tests.workers.fake_port import FakePort, make_port
from tests.workers.house import SHORT, item_of, make_deps, make_lanes, place_orders, statuses, until_status, working
from workers.deps import Deps
from workers.label_books import Books
from workers.lanes import Lane

PARCELS = ChannelId("parcels")
LANE = Lane(PARCELS, Capability.LABELS)
RING = Keyring([Fernet.generate_key().decode()])
PLACE = Location(LocationCode("RNO"), "Reno", LocationKind.WAREHOUSE, ChannelId("ledger"), "", address=DEPOT)
BUYER = Person(
    "Ottilie Vandermark",
    "ottilie@canary.example",
    Recipient("US", "Ottilie Vandermark", "1917 Quince Hollow Lane", city="Seattle", region="WA", postal_code="98103"),
)
TIMING = replace(SHORT, settle_s=0.0, lease_s=5.0)


@pytest.fixture(scope="module")
async def parcels() -> AsyncIterator[Sandbox]:
    async with serving("carrier") as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield Sandbox(url, http)


@pytest.fixture
def port() -> FakePort:
    return make_port()


@pytest.fixture
async def deps(store: Store, redis: Redis, port: FakePort, parcels: Sandbox) -> AsyncIterator[Deps]:
    """A worker that buys at the sandbox; an answer is waited for for half a second."""
    transport, tokens, budgets = (
        Transport(limits=Limits(read_s=0.5, total_s=1.0)),
        TokenStore(redis),
        Budgets(redis, NeverUsed()),
    )
    config = RestConfig(Channel(PARCELS, Platform.REST, "Parcels", True), f"{parcels.url}/v1", "ct_sandbox")
    labels = CarrierLabels(RestClient(config, transport, tokens, budgets))
    shop = LabelShop(PARCELS, "Parcels", labels, own=False, lag_s=0.0)
    await parcels.faults()
    # A larger burst would have to fill before a write may go: it leaves a tenth of it to others.
    await parcels.post("plans", q=600, w=6)
    yield make_deps(store, redis, [port], timing=TIMING, locations=[PLACE], ring=RING, label_shops={PARCELS: shop})
    await parcels.faults()
    await tokens.settle()
    await budgets.settle()
    await transport.close()


async def placed(deps: Deps, port: FakePort, **changes: Any) -> Order:
    """An order of a buyer whom we know."""
    [one] = await place_orders(deps.store, port, 1)
    one = replace(one, person=BUYER, **changes)
    async with deps.store.begin() as tx:
        await order.upsert(tx, [replace(one, updated_at=one.updated_at + timedelta(seconds=1))])
        await person.keep(tx, RING, [one])
    return one


async def ask_for(deps: Deps, one: Order, **changes: Any) -> OperationId:
    """An operation that buys a label for all of the order."""
    values: dict[str, Any] = {
        "reference": str(uuid4()),
        "order": one.id,
        "location": PLACE.code,
        "lines": tuple((line.external_id, line.quantity) for line in one.lines),
        "box": Box(Decimal(30), Decimal(20), Decimal("10.5"), Decimal(850)),
        "format": LabelFormat.PDF,
        "wish": Wish(),
    }
    package = Package(**(values | changes))
    return await kept(deps, Kind.BUY_LABELS, one, package.to_json())


async def kept(deps: Deps, kind: Kind, one: Order, payload: dict[str, object]) -> OperationId:
    item = NewItem(
        channel=PARCELS,
        capability=Capability.LABELS,
        resource=f"order:{one.id}",
        key=f"{one.channel}/{one.external_id}",
        payload={**payload, "external_id": one.external_id, "by": "packer"},
    )
    async with deps.store.begin() as tx:
        made, _ = await operation.create(
            tx,
            kind=kind,
            requested_by="packer",
            idempotency_key=uuid4().hex,
            request_hash="",
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=[item],
        )
    return made.id


async def give_back(deps: Deps, one: Order, label: KeptLabel) -> OperationId:
    payload: dict[str, object] = {"void": label.id, "order_id": one.id, "confirmed_by": label.confirmed_by}
    return await kept(deps, Kind.VOID_LABELS, one, payload)


async def drain(deps: Deps) -> None:
    """One worker comes by and does what can be done now."""
    lanes = make_lanes(deps)
    lanes.wake(LANE)
    await lanes.idle()


async def carried_out(deps: Deps, id: OperationId) -> str:
    """Workers come by until the item has ended; nobody waits for what is due only later. The status it ended with."""
    until = time.monotonic() + 60.0
    while time.monotonic() < until:
        await drain(deps)
        [status] = await statuses(deps.store, id)
        if status not in ("PENDING", "SENT", "ACCEPTED"):
            return status
        async with deps.store.begin() as tx:
            await tx.execute(update(operation_item).values(due_at=func.now(), lease_until=None))
    item = await item_of(deps.store, id)
    raise AssertionError(f"it is still {item.status} after {item.attempts} attempts: {item.error_message}")


async def label_of(deps: Deps, one: Order) -> KeptLabel:
    async with deps.store.begin() as tx:
        [found] = (await label.by_orders(tx, [one.id]))[one.id]
    return found


async def effects(parcels: Sandbox, *references: str) -> list[str]:
    told = (await parcels.get("journal"))["effects"]
    return [one["operation"] for one in told if one["key"] in references]


async def reference_of(deps: Deps, id: OperationId) -> str:
    return str((await item_of(deps.store, id)).payload["reference"])


async def test_a_label_is_bought_kept_sealed_and_told(deps: Deps, port: FakePort, parcels: Sandbox) -> None:
    one = await placed(deps, port)
    id = await ask_for(deps, one)
    assert await carried_out(deps, id) == "VERIFIED"
    found = await label_of(deps, one)
    assert (found.status, found.service, found.printable) == (LabelStatus.BOUGHT, "Hermes Standard", True)
    assert await effects(parcels, found.id) == ["buyLabel"]
    async with deps.store.begin() as tx:
        document = await label.document(tx, RING, found.id)
        sealed = await tx.scalar(select(label_table.c.sealed))
        steps = (await timeline.by_orders(tx, [one.id]))[one.id]
    assert document is not None
    assert document.data.startswith(b"%PDF-")
    assert b"Ottilie" in document.data
    assert "Ottilie" not in str(sealed)
    assert [(step.kind, step.actor, step.operation) for step in steps] == [(StepKind.LABEL_BOUGHT, "packer", id)]


# Before the intent and after it, after the purchase, around the record of it; and around the look for its document.
SENDING = ("before_intent", "after_intent", "after_send", "before_record", "after_record")
POINTS = (*SENDING, "inside_record", "after_verify_read", "before_verify_record")


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Makes the worker that comes to this place first end there without a trace; the places that were passed."""

    def at(name: str) -> list[str]:
        passed: list[str] = []

        def point(place: str) -> None:
            passed.append(place)
            if place == name and passed.count(place) == 1:
                raise asyncio.CancelledError

        for module in ("workers.lanes", "workers.writes"):
            monkeypatch.setattr(f"{module}.point", point)
        return passed

    return at


@pytest.mark.parametrize("place", POINTS)
async def test_wherever_a_worker_dies_a_label_is_bought_once(
    deps: Deps, port: FakePort, parcels: Sandbox, dying: Callable[[str], list[str]], place: str
) -> None:
    one = await placed(deps, port)
    id = await ask_for(deps, one, confirm=True)
    passed = dying(place)
    assert await carried_out(deps, id) == "VERIFIED"
    assert place in passed
    found = await label_of(deps, one)
    assert (await effects(parcels, found.id), found.printable) == (["buyLabel"], True)
    async with deps.store.begin() as tx:
        confirmations = await operation.page(tx, first=10, kinds=[Kind.CONFIRM_SHIPMENTS])
    assert [made.id for made in confirmations[0]] == [found.confirmed_by]


@pytest.mark.parametrize("place", SENDING)
async def test_wherever_a_worker_dies_a_label_is_given_back_once(
    deps: Deps, port: FakePort, parcels: Sandbox, dying: Callable[[str], list[str]], place: str
) -> None:
    one = await placed(deps, port)
    await carried_out(deps, await ask_for(deps, one))
    found = await label_of(deps, one)
    id = await give_back(deps, one, found)
    passed = dying(place)
    assert await carried_out(deps, id) == "VERIFIED"
    assert place in passed
    assert await effects(parcels, found.id) == ["buyLabel", "voidLabel"]
    assert (await label_of(deps, one)).status is LabelStatus.REFUND_PENDING


LIMITED, FAILED, SILENT = {"kind": "status", "status": 429}, {"kind": "status", "status": 500}, {"kind": "hang"}
APPLIED = [{"kind": "apply_then_status", "status": 500}, {"kind": "apply_then_reset"}]


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        *((call, FAILED) for call in ("rates", "getDocument")),
        *(("buyLabel", fault) for fault in (LIMITED, FAILED, SILENT, *APPLIED)),
    ],
    ids=lambda one: one if isinstance(one, str) else "-".join(map(str, one.values())),
)
async def test_whatever_a_call_meets_a_label_is_bought_once(
    deps: Deps, port: FakePort, parcels: Sandbox, call: str, fault: dict[str, Any]
) -> None:
    one = await placed(deps, port)
    id = await ask_for(deps, one)
    await parcels.faults({"operation": call, "count": 1, **fault})
    assert await carried_out(deps, id) == "VERIFIED"
    found = await label_of(deps, one)
    assert (await effects(parcels, found.id), found.printable) == (["buyLabel"], True)


async def test_a_refusal_of_looking_for_a_label_is_no_word_on_whether_it_was_bought(
    deps: Deps, port: FakePort, parcels: Sandbox
) -> None:
    one = await placed(deps, port)
    id = await ask_for(deps, one)
    refused = {"operation": "listLabels", "count": 1, "kind": "status", "status": 404}
    await parcels.faults({"operation": "buyLabel", "count": 1, "kind": "apply_then_reset"}, refused)
    assert await carried_out(deps, id) == "VERIFIED"
    assert await effects(parcels, await reference_of(deps, id)) == ["buyLabel"]


async def test_a_parcel_that_came_in_before_its_label_was_looked_for_is_not_taken_for_another(
    deps: Deps, port: FakePort, parcels: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await placed(deps, port, shipments=[Shipment("1", "DHL", "T-BEFORE", datetime.now(UTC))])
    id = await ask_for(deps, one)
    shop, known = deps.label_shops[PARCELS].labels, []
    buy = shop.buy

    async def noted(wanted: LabelWanted, *told: Any, **more: Any) -> Purchase:
        known.append(wanted.known)
        return await buy(wanted, *told, **more)

    monkeypatch.setattr(shop, "buy", noted)
    await parcels.faults({"operation": "buyLabel", "count": 1, "kind": "apply_then_reset"})
    await drain(deps)
    shown = [*one.shipments, Shipment("2", "DHL", "T-BOUGHT", datetime.now(UTC))]
    async with deps.store.begin() as tx:
        at = one.updated_at + timedelta(minutes=1)
        await order.upsert(tx, [replace(one, status=OrderStatus.SHIPPED, shipments=shown, updated_at=at)])
    assert await carried_out(deps, id) == "VERIFIED"
    # An answer may be late once more.
    assert (len(known) > 1, {frozenset(one) for one in known}) == (True, {frozenset({"T-BEFORE"})})


@pytest.mark.parametrize("fault", [FAILED, *APPLIED], ids=lambda one: "-".join(map(str, one.values())))
async def test_whatever_it_meets_a_label_is_given_back_once(
    deps: Deps, port: FakePort, parcels: Sandbox, fault: dict[str, Any]
) -> None:
    one = await placed(deps, port)
    await carried_out(deps, await ask_for(deps, one))
    found = await label_of(deps, one)
    await parcels.faults({"operation": "voidLabel", "count": 1, **fault})
    assert await carried_out(deps, await give_back(deps, one, found)) == "VERIFIED"
    assert await effects(parcels, found.id) == ["buyLabel", "voidLabel"]


async def test_two_workers_at_once_buy_each_label_once(deps: Deps, port: FakePort, parcels: Sandbox) -> None:
    orders = [await placed(deps, port) for _ in range(4)]
    ids = [await ask_for(deps, one) for one in orders]
    await asyncio.gather(*(drain(replace(deps, worker=name)) for name in ("one", "two", "three")))
    for id in ids:
        assert await carried_out(deps, id) == "VERIFIED"
    references = [await reference_of(deps, id) for id in ids]
    assert await effects(parcels, *references) == ["buyLabel"] * 4


async def test_a_confirmed_parcel_reaches_its_channel_with_the_number_of_its_label(deps: Deps, port: FakePort) -> None:
    one = await placed(deps, port)
    id = await ask_for(deps, one, confirm=True)
    async with working(deps):
        await until_status(deps.store, id, "VERIFIED")
        found = await label_of(deps, one)
        assert found.confirmed_by is not None
        await until_status(deps.store, found.confirmed_by, "VERIFIED")
    [effect] = port.effects
    assert (effect.order, effect.tracking_number) == (one.external_id, found.tracking_number)


@pytest.mark.parametrize("status", [OrderStatus.CANCELLED, OrderStatus.SHIPPED])
async def test_nothing_is_bought_for_an_order_that_cannot_ship_any_more(
    deps: Deps, port: FakePort, parcels: Sandbox, status: OrderStatus
) -> None:
    one = await placed(deps, port, status=status)
    id = await ask_for(deps, one)
    assert await carried_out(deps, id) == "FAILED"
    assert await effects(parcels, await reference_of(deps, id)) == []


async def test_a_revived_item_buys_nothing_for_units_that_have_a_label(
    deps: Deps, port: FakePort, parcels: Sandbox
) -> None:
    one = await placed(deps, port)
    first, second = await ask_for(deps, one), await ask_for(deps, one)
    assert (await carried_out(deps, first), await carried_out(deps, second)) == ("VERIFIED", "FAILED")
    assert await effects(parcels, await reference_of(deps, second)) == []


async def test_a_label_that_takes_anothers_place_is_bought_for_what_can_ship_alone(
    deps: Deps, port: FakePort, parcels: Sandbox
) -> None:
    one = await placed(deps, port)
    assert await carried_out(deps, await ask_for(deps, one)) == "VERIFIED"
    old = await label_of(deps, one)
    assert await carried_out(deps, await give_back(deps, one, old)) == "VERIFIED"
    id = await ask_for(deps, one, replaces=old.id)
    async with deps.store.begin() as tx:
        cancelled = replace(one, status=OrderStatus.CANCELLED, updated_at=one.updated_at + timedelta(minutes=1))
        await order.upsert(tx, [cancelled])
    assert await carried_out(deps, id) == "FAILED"
    assert await effects(parcels, await reference_of(deps, id)) == []


async def test_a_label_whose_parcel_was_told_meanwhile_is_not_given_back(
    deps: Deps, port: FakePort, parcels: Sandbox
) -> None:
    one = await placed(deps, port)
    assert await carried_out(deps, await ask_for(deps, one)) == "VERIFIED"
    found = await label_of(deps, one)
    id = await give_back(deps, one, found)
    shown = [Shipment("1", "DHL", found.tracking_number or "", datetime.now(UTC))]
    async with deps.store.begin() as tx:
        at = one.updated_at + timedelta(minutes=1)
        await order.upsert(tx, [replace(one, status=OrderStatus.SHIPPED, shipments=shown, updated_at=at)])
    assert await carried_out(deps, id) == "FAILED"
    assert await effects(parcels, found.id) == ["buyLabel"]


async def test_without_an_address_nothing_is_bought_and_the_reason_is_told(deps: Deps, port: FakePort) -> None:
    [one] = await place_orders(deps.store, port, 1)
    id = await ask_for(deps, one)
    assert await carried_out(deps, id) == "FAILED"
    assert "buyers = true" in (await item_of(deps.store, id)).error_message


async def test_the_cheapest_in_time_is_bought_and_none_that_is_late(deps: Deps, port: FakePort) -> None:
    soon = await placed(deps, port, deliver_by=datetime.now(UTC) + timedelta(days=2, hours=1))
    await carried_out(deps, await ask_for(deps, soon))
    assert (await label_of(deps, soon)).service == "DHL Paket"
    late = await placed(deps, port, deliver_by=datetime.now(UTC) + timedelta(hours=1))
    id = await ask_for(deps, late)
    assert await carried_out(deps, id) == "FAILED"
    assert "as the buyer was promised" in (await item_of(deps.store, id)).error_message


async def test_the_books_follow_refunds_and_parcels_and_the_sum_is_the_carriers(
    deps: Deps, port: FakePort, parcels: Sandbox
) -> None:
    dice = random.Random(7)
    # What earlier ones gave back is decided before it is counted.
    await parcels.post("clock", advance=3_601)
    start = Decimal((await parcels.get("world"))["balance"]["amount"])
    orders = [await placed(deps, port) for _ in range(6)]
    for one in orders:
        assert await carried_out(deps, await ask_for(deps, one)) == "VERIFIED"
    labels = [await label_of(deps, one) for one in orders]
    back, scanned = labels[:4], labels[2:5]
    dice.shuffle(back)
    by_id = {one.id: one for one in orders}
    for returned in back:
        assert await carried_out(deps, await give_back(deps, by_id[returned.order], returned)) == "VERIFIED"
    where = [{"trackingNumber": one.tracking_number, "status": "in_transit"} for one in scanned]
    await parcels.post("state", parcels=where)
    await parcels.post("clock", advance=3_601)
    later = replace(deps, clock=lambda: datetime.now(UTC) + timedelta(hours=25))
    after = labels
    # A day on which the budget had no slot for one is made good for by the next.
    while any(one.status is LabelStatus.REFUND_PENDING for one in after) or {one.whereabouts for one in after[2:5]} != {
        Whereabouts.IN_TRANSIT
    }:
        await Books(later, lambda: None).once()
        after = [await label_of(deps, one) for one in orders]
    assert [one.status.value for one in after] == ["REFUNDED"] * 2 + ["REFUND_REFUSED"] * 2 + ["BOUGHT"] * 2
    assert [one.whereabouts and one.whereabouts.value for one in after[2:]] == ["IN_TRANSIT"] * 3 + ["PREPARING"]
    paid = sum(one.price.amount for one in after if one.status is not LabelStatus.REFUNDED)
    assert Decimal((await parcels.get("world"))["balance"]["amount"]) - start == paid
    assert await Books(deps, lambda: None).once() == 0, "they have just been looked at"


async def test_a_document_that_was_forgotten_stays_so_and_what_was_paid_stays(deps: Deps, port: FakePort) -> None:
    one = await placed(deps, port)
    await carried_out(deps, await ask_for(deps, one))
    found = await label_of(deps, one)
    async with deps.store.begin() as tx:
        assert await label.forget(tx, found.bought_at) == 0
        assert await label.forget(tx, found.bought_at + timedelta(seconds=1)) == 1
        assert await label.document(tx, RING, found.id) is None
    later = replace(deps, clock=lambda: datetime.now(UTC) + timedelta(hours=25))
    await Books(later, lambda: None).once()
    after = await label_of(deps, one)
    assert (after.printable, after.price) == (False, found.price)


async def test_documents_are_sealed_anew_and_forgotten_with_their_buyer(deps: Deps, port: FakePort) -> None:
    one = await placed(deps, port)
    await carried_out(deps, await ask_for(deps, one))
    found, newest = await label_of(deps, one), Fernet.generate_key().decode()
    both = Keyring([newest, *RING._secrets])
    async with deps.store.begin() as tx:
        assert await label.reseal(tx, both, None) == found.id
        assert await label.reseal(tx, both, found.id) is None
        assert await label.document(tx, Keyring([newest]), found.id) is not None
        kept = await label.document(tx, both, found.id)
        assert kept is not None
        assert await person.redact(tx, [one.id]) == [one.id]
        assert await label.document(tx, both, found.id) is None
        # Who fetched it just before keeps it no more.
        await label.keep_document(tx, both, found.id, kept)
        assert await label.document(tx, both, found.id) is None


async def test_a_shop_that_has_left_takes_the_documents_along(deps: Deps, port: FakePort) -> None:
    one = await placed(deps, port)
    await carried_out(deps, await ask_for(deps, one))
    async with deps.store.begin() as tx:
        assert (await privacy.erase(tx, ChannelId("nobody"))).get("documents of labels") is None
        assert (await privacy.erase(tx, one.channel))["documents of labels"] == 1
    after = await label_of(deps, one)
    assert (after.printable, after.price.amount > 0) == (False, True)


async def test_nothing_of_the_buyer_is_left_where_people_read(
    deps: Deps, port: FakePort, parcels: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    one = await placed(deps, port)
    await parcels.faults({"operation": "rates", "count": 1, "kind": "status", "status": 422})
    failed, fine = await ask_for(deps, one), await ask_for(deps, one, confirm=True)
    assert (await carried_out(deps, failed), await carried_out(deps, fine)) == ("FAILED", "VERIFIED")
    async with deps.store.begin() as tx:
        rows = [
            *(await tx.execute(select(operation_item))).all(),
            *(await tx.execute(select(event))).all(),
            *(await tx.execute(select(label_table))).all(),
        ]
        steps = (await timeline.by_orders(tx, [one.id]))[one.id]
    told = json.dumps([list(map(str, row)) for row in rows]) + str(steps) + caplog.text
    canaries = ("Ottilie", "Vandermark", "canary", "Quince", "98103", "Seattle")
    assert [word for word in canaries if word in told] == []
    assert [word for word in canaries if word in str(BUYER.to_json())] == list(canaries), "the words would be found"
