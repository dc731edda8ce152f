"""Giving money back at Amazon: one feed for the refunds of a moment, the parts of an amount, and what shows of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.amazon.platform import AmazonPort
from adapters.amazon.refunding import number_of, split
from adapters.port import OrderKey, Receipt
from adapters.returns import RefundsTold
from adapters.storefront import Refunds, RefundSent, RefundSight, RefundVerdicts
from domain.budget import Ask
from domain.charge import Charge, ChargeKind, charged
from domain.errors import Conflict, Invalid, NotFound, OutcomeUnknown
from domain.ids import ChannelSku, LineId
from domain.money import Money
from domain.order import Order, OrderLine
from domain.refund import RefundLine, RefundWanted
from tests.adapters.amazon.bench import Desk, Sandbox, go, make_parcel
from tests.adapters.amazon.offers import skus, unhurried
from tests.workers.fake_port import make_order, make_port

CALLS = (
    "createFeedDocument",
    "createFeed",
    "getFeed",
    "getFeeds",
    "getFeedDocument",
    "getOrder",
    "listTransactions",
    "confirmShipment",
)
DONE_S = 300  # a feed is worked through by then, and what it moved shows
SHOWN_S = 41 * 3_600  # also of the orders whose movements show late


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A small world of its own: time passes quickly in it."""
    started = Sandbox("--products", "50", "--orders", "0", "--marketplaces", "US")
    await started.generous(*CALLS)
    yield started
    await started.close()


@pytest.fixture
async def desk(sandbox: Sandbox, open_desk: Callable[..., Desk]) -> Desk:
    """An account whose calls nothing throttles."""
    opened = open_desk(sandbox)
    await unhurried(opened, *CALLS)
    return opened


@pytest.fixture
def port(desk: Desk) -> AmazonPort:
    assert isinstance(desk.port, AmazonPort)
    assert isinstance(desk.port, Refunds)
    assert isinstance(desk.port, RefundVerdicts)
    assert isinstance(desk.port, RefundsTold)
    return desk.port


async def passed(sandbox: Sandbox, seconds: float) -> datetime:
    """Time passes there; what it is then."""
    return datetime.fromisoformat((await sandbox.post("clock", {"advance": seconds}))["now"])


async def worked(sandbox: Sandbox) -> None:
    """The feeds there are have been worked through."""
    await passed(sandbox, DONE_S)
    await sandbox.get("feeds")


async def shown(sandbox: Sandbox) -> None:
    """What they moved shows, of all orders."""
    await worked(sandbox)
    await passed(sandbox, SHOWN_S)


async def sold(sandbox: Sandbox, port: AmazonPort, count: int = 1, *, units: int = 2, ship: int = 2) -> list[OrderKey]:
    """Orders of one line, of which `ship` units have left."""
    sku = (await skus(sandbox, "US"))[0]
    entry = {"marketplace": "US", "fulfilledBy": "MERCHANT", "lines": [{"sku": sku, "quantity": units}]}
    keys = [OrderKey(id, "US", {}) for id in (await sandbox.post("state", {"orders": [entry] * count}))["orders"]]
    for key in keys if ship else []:
        order = await port.order(key, Ask())
        now = await passed(sandbox, 1)
        parcel = make_parcel((order.lines[0].external_id, ship), shipped_at=now)
        await port.confirm_shipment(key, parcel, Ask(), go)
    await passed(sandbox, 60)
    return keys


def wanted(amount: str, reference: str, *lines: RefundLine) -> RefundWanted:
    return RefundWanted(reference, lines, Money(Decimal(amount), "USD"), note="broken")


async def give(port: AmazonPort, key: OrderKey, what: RefundWanted, before_send: Any = go) -> Receipt:
    return await port.refund(key, what, Ask(), before_send)


async def seen(
    port: AmazonPort, key: OrderKey, what: RefundWanted, at: datetime, receipt: Receipt | None, **more: Any
) -> RefundSight:
    sent = RefundSent(at, None if receipt is None else receipt.reference, **more)
    return await port.refund_seen(key, what, sent, Ask())


async def test_the_refunds_of_a_moment_share_one_feed_and_show_among_the_movements_of_money(
    sandbox: Sandbox, port: AmazonPort
) -> None:
    keys = await sold(sandbox, port, 3)
    mark, at = await sandbox.mark(), await passed(sandbox, 0)
    line = (await port.order(keys[0], Ask())).lines[0]
    whole = charged(line.charges)
    assert whole is not None
    asked = [wanted("5.43", "r-part"), wanted(str(whole.amount), "r-whole"), wanted("1.00", "r-one")]
    receipts = await asyncio.gather(*(give(port, key, what) for key, what in zip(keys, asked, strict=True)))
    assert len({str(one.reference).partition("/")[0] for one in receipts}) == 1
    assert len(await sandbox.calls(mark, "createFeed")) == 1
    early = await seen(port, keys[0], asked[0], at, receipts[0])
    assert (early.shown, early.refused, early.again_s is None) == (None, None, False)  # Amazon has not come to it yet
    await shown(sandbox)
    for key, what, receipt in zip(keys, asked, receipts, strict=True):
        sight = await seen(port, key, what, at, receipt)
        (found,) = await port.refunds(key, Ask())
        assert (sight, found.amount) == (RefundSight(shown=found.reference), what.amount)
        # Once it is taken for another's, it is nobody else's.
        assert (await seen(port, key, what, at, receipt, taken=[found.reference])).shown is None
        pieces = (await port.refunds_told(key, Ask())).items
        assert [piece.reference.partition(":")[0] for piece in pieces] == [found.reference]
    assert [one.quantity for one in (await port.refunds(keys[1], Ask()))[0].lines] == [2]
    effects = [one for one in await sandbox.effects(mark) if one["operation"] == "refundOrder"]
    assert len(effects) == 3


async def test_more_than_was_paid_is_refused_by_us_and_by_amazon(sandbox: Sandbox, port: AmazonPort) -> None:
    [key] = await sold(sandbox, port, units=2, ship=1)
    order = await port.order(key, Ask())
    whole = charged(order.lines[0].charges)
    assert whole is not None
    mark, at = await sandbox.mark(), await passed(sandbox, 0)
    with pytest.raises(Conflict):
        await give(port, key, wanted(str(whole.amount + 1), "r-more"))
    assert await sandbox.calls(mark, "createFeedDocument") == []
    # Of two units one has left, and only that is paid: Amazon knows.
    what = wanted(str(whole.amount), "r-both")
    receipt = await give(port, key, what)
    await worked(sandbox)
    sight = await seen(port, key, what, at, receipt)
    assert sight.refused is not None
    assert sight.refused.message == (
        "Amazon did not refund it: The refund is more than is left of what the buyer paid. (18031)"
    )
    assert [one for one in await sandbox.effects(mark) if one["operation"] == "refundOrder"] == []


async def test_what_has_gone_back_is_not_given_back_again(sandbox: Sandbox, port: AmazonPort) -> None:
    [key] = await sold(sandbox, port)
    whole = charged((await port.order(key, Ask())).lines[0].charges)
    assert whole is not None
    await give(port, key, wanted("3.33", "r-first"))
    await shown(sandbox)
    with pytest.raises(Conflict, match="are left of what was paid"):
        await give(port, key, wanted(str(whole.amount), "r-again"))
    at, rest = await passed(sandbox, 0), wanted(str(whole.amount - Decimal("3.33")), "r-rest")
    receipt = await give(port, key, rest)
    await shown(sandbox)
    assert (await seen(port, key, rest, at, receipt)).shown is not None
    assert sum(one.amount.amount for one in await port.refunds(key, Ask())) == whole.amount


async def test_a_feed_without_an_answer_is_found_again_or_proved_absent(
    sandbox: Sandbox, port: AmazonPort, desk: Desk, open_desk: Callable[..., Desk]
) -> None:
    taken, other, refused = await sold(sandbox, port, 3)
    await passed(sandbox, 3_600)  # away from the feeds of other tests
    at, what = await passed(sandbox, 0), wanted("2.00", "r-lost")
    assert await seen(port, taken, what, at, None) == RefundSight()  # no feed was made then: it may be sent
    await sandbox.post("faults", {"faults": [{"operation": "createFeed", "kind": "apply_then_reset", "count": 1}]})
    more = wanted("999.00", "r-never")
    with pytest.raises(OutcomeUnknown):
        await give(port, taken, what)
    early = await seen(port, taken, what, at, None)
    assert early.again_s is not None  # there is a feed, and nobody can tell yet whether it is that one
    await shown(sandbox)
    assert (await seen(port, taken, what, at, None)).shown is not None
    # Nothing of it shows of another order: it is waited for as long as it may come, and is never proof of absence.
    waiting = await seen(port, other, more, at, None)
    assert (waiting.shown, waiting.refused, waiting.again_s is None) == (None, None, False)
    old = at - timedelta(days=4)
    assert await seen(port, other, more, old, None) == RefundSight()
    # Of a feed that we made ourselves we know what is in it.
    at = await passed(sandbox, 3_600)
    receipt = await give(port, other, wanted("1.00", "r-known"))
    assert await seen(port, refused, wanted("1.00", "r-not-in-it"), at, None) == RefundSight()
    stranger = open_desk(sandbox)
    await unhurried(stranger, *CALLS)
    assert isinstance(stranger.port, AmazonPort)
    assert (await seen(stranger.port, refused, wanted("1.00", "r-not-in-it"), at, None)).again_s is not None
    assert await seen(stranger.port, refused, wanted("1.00", "x"), at, None, before=receipt.reference) == RefundSight()


async def test_a_refusal_names_its_message_whichever_feed_it_was_in(
    sandbox: Sandbox, port: AmazonPort, open_desk: Callable[..., Desk]
) -> None:
    fit, unfit = await sold(sandbox, port, 2, units=2, ship=1)
    await passed(sandbox, 3_600)
    at = await passed(sandbox, 0)
    whole = charged((await port.order(unfit, Ask())).lines[0].charges)
    assert whole is not None
    good, bad = wanted("1.00", "r-good"), wanted(str(whole.amount), "r-bad")
    await asyncio.gather(give(port, fit, good), give(port, unfit, bad))
    await worked(sandbox)
    # Another process knows nothing of the feed, and finds what was said against it.
    stranger = open_desk(sandbox)
    await unhurried(stranger, *CALLS)
    assert isinstance(stranger.port, AmazonPort)
    sight = await seen(stranger.port, unfit, bad, at, None)
    assert sight.refused is not None
    assert (await seen(stranger.port, fit, good, at, None)).refused is None


async def test_equal_refunds_of_an_order_are_told_apart_one_after_the_other(sandbox: Sandbox, port: AmazonPort) -> None:
    [key] = await sold(sandbox, port)
    at = await passed(sandbox, 0)
    first, second = wanted("1.00", "r-1"), wanted("1.00", "r-2")
    receipts = await asyncio.gather(give(port, key, first), give(port, key, second))
    await shown(sandbox)
    one = await seen(port, key, first, at, receipts[0])
    assert (await seen(port, key, second, at, receipts[1], first=False)).again_s is not None
    two = await seen(port, key, second, at, receipts[1], taken=[str(one.shown)])
    assert sorted([one.shown or "", two.shown or ""]) == sorted(
        each.reference for each in await port.refunds(key, Ask())
    )


async def test_what_was_not_shipped_or_was_shipped_by_amazon_asks_for_no_feed(
    sandbox: Sandbox, port: AmazonPort
) -> None:
    [key] = await sold(sandbox, port, ship=0)
    mark = await sandbox.mark()
    with pytest.raises(Conflict, match="cancel it"):
        await give(port, key, wanted("1.00", "r-unshipped"))
    sku = (await skus(sandbox, "US", "AMAZON"))[0]
    entry = {"marketplace": "US", "fulfilledBy": "AMAZON", "lines": [{"sku": sku, "quantity": 1}]}
    [id] = (await sandbox.post("state", {"orders": [entry]}))["orders"]
    with pytest.raises(Conflict, match="by itself"):
        await give(port, OrderKey(id, "US", {}), wanted("1.00", "r-fba"))
    assert await sandbox.calls(mark, "createFeedDocument") == []


# -- what goes to which item and component ----------------------------------------------------------------------------------

KINDS = {
    ChargeKind.GOODS: "Principal",
    ChargeKind.TAX: "Tax",
    ChargeKind.SHIPPING: "Shipping",
    ChargeKind.SHIPPING_TAX: "ShippingTax",
}


def priced(*lines: tuple[int, dict[ChargeKind, int]]) -> Order:
    """An order whose lines have so many units, and were paid so many cents for each kind."""
    one = make_order(make_port(), "1001")
    one.lines = [
        OrderLine(
            LineId(f"L{number}"),
            f"L{number}",
            ChannelSku(f"S{number}"),
            units,
            units,
            charges=tuple(Charge(kind, Money(Decimal(cents) / 100, "USD")) for kind, cents in parts.items()),
        )
        for number, (units, parts) in enumerate(lines, start=1)
    ]
    return one


cents = st.integers(0, 9_999)
bought = st.lists(
    st.tuples(st.integers(1, 4), st.fixed_dictionaries(dict.fromkeys(KINDS, cents))), min_size=1, max_size=4
)


@settings(max_examples=50, deadline=None)
@given(bought, st.lists(st.integers(1, 5_000), max_size=5))
def test_refunds_one_after_the_other_give_back_each_part_to_the_cent_and_never_more(
    lines: list[tuple[int, dict[ChargeKind, int]]], amounts: list[int]
) -> None:
    order = priced(*lines)
    paid = {
        (line.external_id, KINDS[charge.kind]): charge.amount.amount for line in order.lines for charge in line.charges
    }
    gone: Counter[tuple[str, str]] = Counter()
    left = sum(paid.values(), Decimal(0))
    for number, each in enumerate([*amounts, None]):
        amount = left if each is None else min(left, Decimal(each) / 100)
        parts = split(order, wanted(str(amount), f"r{number}"), dict(gone))  # type: ignore[arg-type]  # sums of money
        assert sum(parts.values(), Decimal(0)) == amount
        assert all(part > 0 for part in parts.values())
        gone.update(parts)
        left -= amount
        assert all(gone[part] <= most for part, most in paid.items())
    assert left == 0


def test_a_line_with_units_and_a_named_shipping_go_where_they_belong() -> None:
    order = priced(
        (4, {ChargeKind.GOODS: 4000, ChargeKind.TAX: 400, ChargeKind.SHIPPING: 500, ChargeKind.SHIPPING_TAX: 50}),
        (1, {ChargeKind.GOODS: 1000, ChargeKind.TAX: 100}),
    )
    one = replace(wanted("13.20", "r", RefundLine("L1", 1)), shipping=Money(Decimal("2.20"), "USD"))
    assert split(order, one, {}) == {
        ("L1", "Principal"): Decimal("10.00"),
        ("L1", "Tax"): Decimal("1.00"),
        ("L1", "Shipping"): Decimal("2.00"),
        ("L1", "ShippingTax"): Decimal("0.20"),
    }
    with pytest.raises(Conflict):
        split(order, replace(one, shipping=None), {})  # one unit and its part of the way were paid 12.38 for


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        (wanted("10.01", "r"), Conflict),
        (wanted("1.001", "r"), Invalid),
        (replace(wanted("1.00", "r"), amount=Money(Decimal(1), "EUR")), Invalid),
        (wanted("1.00", "r", RefundLine("L9", 1)), NotFound),
        (wanted("1.00", "r", RefundLine("L1", 2)), Invalid),
        (replace(wanted("2.00", "r"), shipping=Money(Decimal("1.01"), "USD")), Conflict),
    ],
)
def test_what_cannot_be_split_is_refused(what: RefundWanted, problem: type[Exception]) -> None:
    order = priced((1, {ChargeKind.GOODS: 900, ChargeKind.SHIPPING: 100}))
    with pytest.raises(problem):
        split(order, what, {})


def test_a_line_whose_price_is_not_known_yet_is_refused() -> None:
    order = priced((1, {}))
    with pytest.raises(Conflict):
        split(order, wanted("1.00", "r", RefundLine("L1", 1)), {})


def test_the_number_of_a_message_is_made_of_its_reference_alone() -> None:
    numbers = {number_of(str(one)) for one in range(1_000)}
    assert len(numbers) == 1_000
    assert all(0 < one < 10**18 for one in numbers)
    assert number_of("7") == number_of("7")
