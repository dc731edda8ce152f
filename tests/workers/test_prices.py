"""Prices on their way: what is sent, what is not, what becomes of each row, and what a death in between leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, update

from adapters.prices import PriceKey, PriceVerdict, ShownPrice
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown, Refused, Throttled, Transient
from domain.ids import ChannelSku, OperationId
from domain.money import Money
from domain.operation import Capability, ClaimedItem, ItemStatus
from domain.price import Price, PriceFacts, Sale
from store import agenda, operation, price, price_desk
from store.session import Store
from store.tables import listing as listing_table
from store.tables import listing_price, operation_item, price_event
from store.tables import operation as operation_table
from tests.workers.house import make_deps, until
from tests.workers.pricing import QUICK, SHOP, PricedPort, ask, drain, hurry, items, make_priced, sold, usd, wish
from workers import lanes, prices
from workers.deps import Deps
from workers.writes import SENDS

NINE, EIGHT = Price(usd("9.00")), Price(usd("8.00"))


@pytest.fixture
def port() -> PricedPort:
    return make_priced()


@pytest.fixture
def deps(store: Store, redis: Redis, port: PricedPort) -> Deps:
    return make_deps(store, redis, [port], timing=QUICK)


async def settled(store: Store, deps: Deps, *operations: OperationId) -> list[str]:
    """The statuses of the items once none is open."""

    async def over() -> bool:
        await hurry(store)
        await drain(deps)
        return all(row.ended_at is not None for row in await items(store, *operations))

    await until(over)
    return [row.status for row in await items(store, *operations)]


def skus(count: int) -> dict[str, Price]:
    return {f"A-{number}": Price(usd("10.00")) for number in range(count)}


async def test_a_batch_is_told_once_seen_and_kept(store: Store, deps: Deps, port: PricedPort) -> None:
    listings = await sold(store, SHOP, skus(250))
    id = await ask(store, *(wish(one, NINE) for one in listings))
    await drain(deps)
    assert {row.status for row in await items(store, id)} == {"ACCEPTED"}
    # A hundred in a call, and no row twice.
    assert port.rows["told"] == 250
    assert await settled(store, deps, id) == ["VERIFIED"] * 250
    assert len(port.told) == 250
    async with store.begin() as tx:
        kept = (await tx.execute(select(listing_price))).all()
        listed = (await tx.execute(select(listing_table.c.price_amount, listing_table.c.as_of))).all()
        events = (await tx.execute(select(price_event).where(price_event.c.what == "LIVE"))).all()
        made = (await operation.by_ids(tx, [id]))[id]
    assert {(row.live["price"], row.verified["price"], row.differs_since) for row in kept} == {("9", "9", None)}
    assert {row.verified_item for row in kept} == {row.id for row in await items(store, id)}
    assert {row.price_amount for row in listed} == {NINE.regular.amount}
    assert len(events) == 250
    assert {(one.requested_by, one.origin, one.operation) for one in events} == {("tests", "MUTATION", id)}
    assert made.status.value == "SUCCEEDED"


async def test_what_was_seen_is_kept_while_the_next_is_read(
    store: Store, deps: Deps, port: PricedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operation is held from when the first rows were read until the next are asked for."""
    id = await ask(store, *(wish(one, NINE) for one in await sold(store, SHOP, skus(port.price_batch + 1))))
    await drain(deps)
    read, parts = PricedPort.shown_prices, list[int]()
    held, going_on = asyncio.Event(), asyncio.Event()
    holding: list[asyncio.Task[None]] = []

    async def hold() -> None:
        async with store.begin() as tx, asyncio.timeout(60):
            await tx.execute(select(operation_table).where(operation_table.c.id == id).with_for_update())
            held.set()
            await going_on.wait()

    async def shown(self: PricedPort, keys: Sequence[PriceKey], asked: Ask) -> list[ShownPrice | HouseError]:
        parts.append(len(keys))
        if len(parts) == 1:
            holding.append(asyncio.create_task(hold()))
            await held.wait()
        else:
            going_on.set()
        return await read(self, keys, asked)

    monkeypatch.setattr(PricedPort, "shown_prices", shown)
    assert await settled(store, deps, id) == ["VERIFIED"] * (port.price_batch + 1)
    await asyncio.gather(*holding)
    assert parts == [port.price_batch, 1]


async def test_one_row_that_is_refused_spoils_no_other(store: Store, deps: Deps, port: PricedPort) -> None:
    listings = await sold(store, SHOP, skus(5))
    port.faults_of = {ChannelSku("A-1"): Invalid("No such price."), ChannelSku("A-3"): Transient("Not now.")}
    id = await ask(store, *(wish(one, NINE) for one in listings))
    await drain(deps)
    rows = await items(store, id)
    assert [row.status for row in rows if row.key != "shop/A-3"] == ["ACCEPTED", "FAILED", "ACCEPTED", "ACCEPTED"]
    assert (rows[1].error_code, rows[1].error_message) == ("INVALID", "No such price.")
    assert await settled(store, deps, id) == ["VERIFIED", "FAILED", "VERIFIED", "VERIFIED", "VERIFIED"]
    async with store.begin() as tx:
        failed = (await tx.execute(select(price_event).where(price_event.c.what == "FAILED"))).all()
    assert [one.item for one in failed] == [rows[1].id]


async def test_what_refuses_a_whole_call_is_found(store: Store, deps: Deps, port: PricedPort) -> None:
    listings = await sold(store, SHOP, skus(4))
    # All four, then the first two, then the second of them alone.
    port.whole.extend([Refused("One of them."), Refused("One of them."), None, Refused("This one.")])
    id = await ask(store, *(wish(one, NINE) for one in listings))
    assert await settled(store, deps, id) == ["VERIFIED", "FAILED", "VERIFIED", "VERIFIED"]


@pytest.mark.parametrize("problem", [Throttled("Slowly.", retry_after_s=0.1), Transient("Down.")])
async def test_what_stops_all_leaves_all_as_they_were(
    store: Store, deps: Deps, port: PricedPort, problem: Throttled | Transient
) -> None:
    listings = await sold(store, SHOP, skus(3))
    port.whole.append(problem)
    id = await ask(store, *(wish(one, NINE) for one in listings))
    await drain(deps)
    rows = await items(store, id)
    assert {(row.status, row.attempts, row.error_code) for row in rows} == {("PENDING", 0, problem.code)}
    assert await settled(store, deps, id) == ["VERIFIED"] * 3


async def test_an_answer_that_was_lost_is_looked_for_before_anything_is_sent_again(
    store: Store, deps: Deps, port: PricedPort
) -> None:
    listings = await sold(store, SHOP, skus(3))
    port.lost = 1
    id = await ask(store, *(wish(one, NINE) for one in listings))
    await drain(deps)
    assert {row.status for row in await items(store, id)} == {"SENT"}
    assert await settled(store, deps, id) == ["VERIFIED"] * 3
    assert len(port.told) == 3


async def test_what_provably_never_came_is_sent_again_after_the_settle_time(
    store: Store, deps: Deps, port: PricedPort
) -> None:
    (one,) = await sold(store, SHOP, skus(1))
    port.whole.append(OutcomeUnknown("Lost."))
    id = await ask(store, wish(one, NINE))
    await drain(deps)
    # After the time that a change takes to show it may still be under way.
    await hurry(store)
    await drain(deps)
    (row,) = await items(store, id)
    assert (row.status, row.checks, port.rows["shown"], port.told) == ("SENT", 2, 1, [])
    assert await settled(store, deps, id) == ["VERIFIED"]
    assert port.told == [(one.channel_sku, NINE)]


async def test_a_guard_is_asked_in_the_moment_of_sending(store: Store, deps: Deps, port: PricedPort) -> None:
    listings = await sold(store, SHOP, skus(3))
    id = await ask(store, *(wish(one, NINE) for one in listings))

    async def moved() -> None:
        """One of them is sold in another currency by now."""
        port.meanwhile = None
        await sold(store, SHOP, {"A-1": Price(Money(NINE.regular.amount, "EUR"))})

    port.meanwhile = moved
    assert await settled(store, deps, id) == ["VERIFIED", "FAILED", "VERIFIED"]
    rows = await items(store, id)
    assert (rows[1].error_code, rows[1].sent_at) == ("GUARD", None)
    assert "EUR" in rows[1].error_message
    assert {sku for sku, _ in port.told} == {"A-0", "A-2"}


async def test_what_a_second_person_approved_passes_no_guard_that_held_nothing_then(
    store: Store, deps: Deps, port: PricedPort
) -> None:
    listings = await sold(store, SHOP, skus(3))
    id = await ask(store, wish(listings[0], NINE), wish(listings[1], NINE), wish(listings[2], Price(usd("14.00"))))
    async with store.begin() as tx:
        await price_desk.approve(tx, id, "bob", datetime.now(UTC))

    async def moved() -> None:
        """One of them has become a step that nobody was shown."""
        port.meanwhile = None
        await sold(store, SHOP, {"A-1": Price(usd("20.00"))})

    port.meanwhile = moved
    assert await settled(store, deps, id) == ["VERIFIED", "FAILED", "VERIFIED"]
    rows = await items(store, id)
    assert (rows[1].error_code, rows[1].sent_at) == ("GUARD", None)
    assert {sku for sku, _ in port.told} == {"A-0", "A-2"}


async def test_what_is_no_longer_wanted_is_left_out_of_what_is_sent(store: Store, deps: Deps, port: PricedPort) -> None:
    listings = await sold(store, SHOP, skus(2))
    first = await ask(store, *(wish(one, NINE) for one in listings))

    async def newer() -> None:
        port.meanwhile = None
        await ask(store, wish(listings[0], EIGHT))

    port.meanwhile = newer
    assert await settled(store, deps, first) == ["SUPERSEDED", "VERIFIED"]
    assert port.told.count((listings[0].channel_sku, NINE)) == 0
    await until(lambda: _shows(store, deps, port, EIGHT))


async def _shows(store: Store, deps: Deps, port: PricedPort, wanted: Price) -> bool:
    await hurry(store)
    await drain(deps)
    return port.prices.get(ChannelSku("A-0")) == wanted


async def test_what_was_taken_and_overtaken_is_not_waited_for(store: Store, deps: Deps, port: PricedPort) -> None:
    (one,) = await sold(store, SHOP, skus(1))
    first = await ask(store, wish(one, NINE))
    await drain(deps)
    second = await ask(store, wish(one, EIGHT))
    assert await settled(store, deps, first, second) == ["SUPERSEDED", "VERIFIED"]
    assert port.prices[one.channel_sku] == EIGHT


async def test_what_was_taken_and_is_never_seen_wants_a_person(store: Store, deps: Deps, port: PricedPort) -> None:
    (one,) = await sold(store, SHOP, skus(1))
    port.unseen.add(one.channel_sku)
    id = await ask(store, wish(one, NINE))
    await drain(deps)
    async with store.begin() as tx:
        long_ago = datetime.now(UTC) - timedelta(seconds=QUICK.unseen_s + 60)
        await tx.execute(update(operation_item).values(accepted_at=long_ago))
    assert await settled(store, deps, id) == ["PARKED"]
    (row,) = await items(store, id)
    assert "shows no price" in row.error_message


@pytest.mark.parametrize(("hours", "status"), [(23, "ACCEPTED"), (25, "PARKED")])
async def test_a_file_that_never_ends_wants_a_person(store: Store, deps: Deps, hours: int, status: str) -> None:
    (one,) = await sold(store, SHOP, skus(1))
    taken_at = deps.clock() - timedelta(hours=hours)
    payload = price.payload(wish(one, NINE), PriceFacts())
    item = ClaimedItem(
        1, OperationId("o"), SHOP, Capability.PRICES, "r", payload, ItemStatus.ACCEPTED, 1, 1, 0, taken_at, taken_at
    )
    worked = prices._by_verdict(deps, prices.Row(item, wish(one, NINE), 0.0), PriceVerdict(again_s=20.0))
    assert worked is not None
    assert worked.outcome is not None
    assert worked.outcome.status.value == status


async def test_a_shop_is_told_of_a_sale_while_it_holds(store: Store, deps: Deps, port: PricedPort) -> None:
    listings = await sold(store, SHOP, skus(2))
    now = datetime.now(UTC).replace(microsecond=0)
    on = Price(usd("9.00"), Sale(usd("7.00"), now - timedelta(hours=1), now + timedelta(hours=1)))
    later = Price(usd("9.00"), Sale(usd("7.00"), now + timedelta(hours=1), now + timedelta(hours=2)))
    id = await ask(store, wish(listings[0], on), wish(listings[1], later))
    assert await settled(store, deps, id) == ["VERIFIED"] * 2
    assert dict(port.told) == {"A-0": Price(usd("9.00"), Sale(usd("7.00"))), "A-1": Price(usd("9.00"))}
    async with store.begin() as tx:
        told = {row.listing: row.live for row in await tx.execute(select(listing_price))}
        facts = await price.facts(tx, [one.id for one in listings], datetime.now(UTC))
    assert told == {listings[0].id: on.told(), listings[1].id: later.told()}
    assert [facts[one.id].live for one in listings] == [on, later]


async def test_a_batch_that_a_port_takes_in_pieces_is_told_to_its_end(
    store: Store, deps: Deps, port: PricedPort
) -> None:
    port.most = 3
    id = await ask(store, *(wish(one, NINE) for one in await sold(store, SHOP, skus(10))))
    assert await settled(store, deps, id) == ["VERIFIED"] * 10
    assert len(port.told) == 10


async def test_what_kills_its_worker_is_alone_before_long(store: Store, deps: Deps) -> None:
    """Each death leaves an eighth of what is taken together the next time, and what was not in hand is not suspected."""
    await ask(store, *(wish(one, NINE) for one in await sold(store, SHOP, skus(100))))
    taken: list[int] = []
    for _ in range(4):
        async with store.begin() as tx:
            got = await agenda.claim_batch(
                tx, SHOP, Capability.PRICES, [ItemStatus.PENDING], limit=100, lease_s=30.0, worker="w"
            )
            suspects = [one.id for one in got]
            # Of those that nobody has ended, the same ones again; the rest is done.
            others = operation_item.c.id.not_in(suspects)
            await tx.execute(update(operation_item).where(others).values(status="FAILED"))
            await tx.execute(update(operation_item).values(lease_until=None))
        taken.append(len(got))
    assert taken == [100, 12, 1, 1]


# A renewal is waited for.
SHORT = replace(QUICK, lease_s=4.0)


async def test_a_batch_keeps_its_leases_while_it_is_at_work(store: Store, redis: Redis, port: PricedPort) -> None:
    deps = make_deps(store, redis, [port], timing=SHORT)
    (one,) = await sold(store, SHOP, skus(1))
    id = await ask(store, wish(one, NINE))
    seen: list[datetime] = []

    async def slow() -> None:
        async def later() -> bool:
            (row,) = await items(store, id)
            seen.append(row.lease_until)
            return len(set(seen)) > 2

        await until(later)

    port.meanwhile = slow
    await drain(deps)
    port.meanwhile = None
    assert await settled(store, deps, id) == ["VERIFIED"]
    assert len(port.told) == 1


async def test_many_are_held_for_longer(
    store: Store, redis: Redis, port: PricedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each renewal writes them all."""
    deps = make_deps(store, redis, [port], timing=SHORT)
    monkeypatch.setattr(lanes, "MANY", 2)
    listings = await sold(store, SHOP, skus(3))
    id = await ask(store, *(wish(one, NINE) for one in listings))
    renewals: list[bool] = []

    async def slow() -> None:
        async def renewed() -> bool:
            longer = datetime.now(UTC) + timedelta(seconds=2 * SHORT.lease_s)
            return all(row.lease_until > longer for row in await items(store, id))

        await until(renewed)
        renewals.append(True)

    port.meanwhile = slow
    await drain(deps)
    assert renewals == [True]


async def test_what_cannot_be_told_beside_others_is_given_up_before_long(
    store: Store, deps: Deps, port: PricedPort
) -> None:
    """Nothing of it leaves, so no attempt counts; yet it is not tried for ever."""
    listings = await sold(store, SHOP, skus(3))
    port.unclear.add(ChannelSku("A-1"))
    id = await ask(store, *(wish(one, NINE) for one in listings))
    assert await settled(store, deps, id) == ["VERIFIED", "FAILED", "VERIFIED"]
    row = (await items(store, id))[1]
    assert (row.error_code, row.sent_at, row.payload["failures"]) == (Transient.code, None, SENDS)
    port.unclear.clear()
    async with store.begin() as tx:
        await price_desk.retry(tx, id)
    assert await settled(store, deps, id) == ["VERIFIED"] * 3


async def test_what_is_said_against_an_offer_that_shows_the_price_is_believed_when_it_stays(
    store: Store, deps: Deps, port: PricedPort
) -> None:
    """What stood against it before may take a moment to go, and the price is not live while it stands."""
    one, other = await sold(store, SHOP, skus(2))
    port.against = {listing.channel_sku: Refused("No offer.") for listing in (one, other)}
    id = await ask(store, wish(one, NINE), wish(other, NINE))
    await drain(deps)
    await hurry(store)
    await drain(deps)
    assert {row.status for row in await items(store, id)} == {"ACCEPTED"}
    del port.against[one.channel_sku]
    assert await settled(store, deps, id) == ["VERIFIED", "FAILED"]
    assert (await items(store, id))[1].error_message == "No offer."


async def test_what_is_said_against_an_offer_that_shows_another_price_is_believed_when_it_is_late(
    store: Store, deps: Deps, port: PricedPort
) -> None:
    (one,) = await sold(store, SHOP, skus(1))
    port.against[one.channel_sku] = Refused("No such price.")
    port.unseen.add(one.channel_sku)
    id = await ask(store, wish(one, NINE))
    for _ in range(5):
        await hurry(store)
        await drain(deps)
    assert {row.status for row in await items(store, id)} == {"ACCEPTED"}
    async with store.begin() as tx:
        long_ago = datetime.now(UTC) - timedelta(seconds=QUICK.unseen_s + 60)
        await tx.execute(update(operation_item).values(accepted_at=long_ago))
    assert await settled(store, deps, id) == ["FAILED"]


async def test_a_few_prices_do_not_wait_behind_thousands(store: Store, deps: Deps, port: PricedPort) -> None:
    """They are told while a large batch is at work, and asked for after it."""
    many = await sold(store, SHOP, skus(price_desk.PROMPT_ROWS + 1))
    (few,) = await sold(store, SHOP, {"B-0": Price(usd("10.00"))})
    large = await ask(store, *(wish(one, NINE) for one in many))

    async def at_work() -> None:
        """The large batch is kept until the small one is there."""
        port.meanwhile = None
        small = await ask(store, wish(few, NINE))

        async def there() -> bool:
            return [row.status for row in await items(store, small)] == ["ACCEPTED"]

        await until(there)

    port.meanwhile = at_work
    await drain(deps)
    assert port.told[0] == (few.channel_sku, NINE)
    assert len(port.told) == price_desk.PROMPT_ROWS + 2
    assert {row.status for row in await items(store, large)} == {"ACCEPTED"}
