"""Refunds: each once, whatever happens to the answers, and never more than was paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.port import OrderKey, Receipt
from adapters.shopify.platform import ShopifyPort
from adapters.storefront import Refunds
from domain.budget import Ask
from domain.errors import Conflict, HouseError, Invalid, NotFound, OutcomeUnknown, Transient, Unauthorized
from domain.money import Money
from domain.refund import RefundLine, RefundWanted, Restock
from tests.adapters.shopify.bench import OpenPort, Sandbox, Script, key_of

NUMBERS = count(1)
ORDER = """query($id: ID!) { order(id: $id) {
  presentmentCurrencyCode displayFinancialStatus
  totalReceivedSet { shopMoney { amount } presentmentMoney { amount } } totalRefundedSet { shopMoney { amount } }
  lineItems(first: 9) { nodes { id currentQuantity refundableQuantity } }
  refunds { id note } } }"""


REFUNDED = """query($id: ID!) { order(id: $id) { refunds { transactions(first: 1) { nodes {
  amountSet { presentmentMoney { amount currencyCode } shopMoney { amount } } } } } } }"""


async def nothing() -> None:
    """Nobody minds that it is sent."""


async def ask(sandbox: Sandbox, query: str, **variables: Any) -> Any:
    answer = await sandbox.http.post(
        "/admin/api/2026-07/graphql.json",
        headers={"X-Shopify-Access-Token": "shpat_sandbox"},
        json={"query": query, "variables": variables},
    )
    told = answer.json()
    assert "errors" not in told, told["errors"]
    return told["data"]


async def stands(sandbox: Sandbox, order: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await ask(sandbox, ORDER, id=order["id"]))["order"]
    return found


async def bought(sandbox: Sandbox, *quantities: int, price: str = "20.00", currency: str = "USD") -> dict[str, Any]:
    """A paid order, one line for each of `quantities`, of a buyer who pays in `currency`."""
    rows = (await sandbox.get("world", limit=len(quantities), offset=300))["skus"]
    lines = [
        {"sku": row["sku"], "quantity": units, "location": "Berlin", "price": price}
        for row, units in zip(rows, quantities, strict=True)
    ]
    while True:
        order = await sandbox.place_order(*lines)
        found = await stands(sandbox, order)
        if found["presentmentCurrencyCode"] == currency:
            return order | {"total": Decimal(found["totalReceivedSet"]["shopMoney"]["amount"])}


def usd(amount: str | int | Decimal) -> Money:
    return Money(Decimal(amount), "USD")


def line(order: Mapping[str, Any], place: int = 0, quantity: int = 1, restock: Restock = Restock.NONE) -> RefundLine:
    return RefundLine(order["lines"][place]["id"], quantity, restock)


def wanted(amount: Money, *lines: RefundLine, **more: Any) -> RefundWanted:
    return RefundWanted(more.pop("reference", f"refund-{next(NUMBERS)}"), lines, amount, **more)


async def made(sandbox: Sandbox, since: Any) -> list[dict[str, Any]]:
    return [each["detail"] for each in await since.effects() if each["operation"] == "refundCreate"]


async def test_a_shop_can_refund(port: ShopifyPort) -> None:
    assert isinstance(port, Refunds)


async def test_a_refund_is_made_once_and_told_by_its_id(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 2)
    journal, bill = await sandbox.journal(), Ask()
    receipt = await port.refund(key_of(order), wanted(usd("20.00"), line(order), note="torn"), bill, nothing)
    (effect,) = await made(sandbox, journal)
    assert effect["refundId"] == receipt.reference
    assert (effect["amount"], effect["lines"][0]["quantity"]) == ("20.00", 1)
    assert effect["note"].startswith("[acorn refund-")
    assert effect["note"].endswith("] torn")
    assert receipt.upstream_request_id
    assert bill.bill.lines[port.channel.id, "refundCreate"].calls == 1
    found = await stands(sandbox, order)
    assert found["displayFinancialStatus"] == "PARTIALLY_REFUNDED"
    assert Decimal(found["totalRefundedSet"]["shopMoney"]["amount"]) == 20


async def test_the_same_again_is_the_same_refund(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 2)
    one, journal = wanted(usd("20.00"), line(order)), await sandbox.journal()
    first = await port.refund(key_of(order), one, Ask(), nothing)
    again = await port.refund(key_of(order), one, Ask(), nothing, sent_before=True)
    assert again.reference == first.reference
    assert len(await made(sandbox, journal)) == 1
    await port.refund(key_of(order), replace(one, reference="another"), Ask(), nothing)
    assert len(await made(sandbox, journal)) == 2


async def test_a_note_cannot_pass_for_another_refund(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 2)
    other = wanted(usd("2.00"))
    journal = await sandbox.journal()
    first = wanted(usd("1.00"), note=f"for [acorn {other.reference}]")
    await port.refund(key_of(order), first, Ask(), nothing)
    await port.refund(key_of(order), other, Ask(), nothing)
    assert [each["amount"] for each in await made(sandbox, journal)] == ["1.00", "2.00"]


async def test_it_is_found_long_after_the_platform_has_forgotten_its_key(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 3)
    one, journal = wanted(usd("20.00"), line(order)), await sandbox.journal()
    await sandbox.faults({"operation": "refundCreate", "kind": "apply_then_reset", "count": 1})
    with pytest.raises(OutcomeUnknown):
        await port.refund(key_of(order), one, Ask(), nothing)
    await sandbox.post("clock", advance=100_000)
    receipt = await port.refund(key_of(order), one, Ask(), nothing, sent_before=True)
    (effect,) = await made(sandbox, journal)
    assert receipt.reference == effect["refundId"]


async def test_goods_come_back_where_they_are_told_to(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 3)
    sku = order["lines"][0]["sku"]

    async def stock() -> dict[str, int]:
        rows = (await sandbox.get("world", limit=300, offset=300))["skus"]
        levels = next(row["stock"] for row in rows if row["sku"] == sku)
        return {place: level["available"] for place, level in levels.items()}

    before = await stock()
    reno = next(each.external_id for each in sandbox.locations if each.code == "RENO")
    back = replace(line(order, restock=Restock.RETURN), place=reno)
    await port.refund(key_of(order), wanted(usd("20.00"), back), Ask(), nothing)
    assert await stock() == before | {"Reno": before["Reno"] + 1}
    await port.refund(key_of(order), wanted(usd("20.00"), line(order, restock=Restock.CANCEL)), Ask(), nothing)
    assert await stock() == before | {"Reno": before["Reno"] + 1, "Berlin": before["Berlin"] + 1}
    await port.refund(key_of(order), wanted(usd("20.00"), line(order)), Ask(), nothing)
    assert await stock() == before | {"Reno": before["Reno"] + 1, "Berlin": before["Berlin"] + 1}


async def test_more_than_is_left_is_refused_before_anything_is_sent(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = await bought(sandbox, 1, 1)
    journal = await sandbox.journal()
    too_much = wanted(usd(order["total"] + 1), line(order))
    with pytest.raises(Conflict, match="were to be refunded"):
        await port.refund(key_of(order), too_much, Ask(), nothing)
    with pytest.raises(Conflict, match="1 left of it"):
        await port.refund(key_of(order), wanted(usd("20.00"), line(order, quantity=2)), Ask(), nothing)
    with pytest.raises(Conflict, match="1 left of it"):
        await port.refund(key_of(order), wanted(usd("20.00"), line(order), line(order)), Ask(), nothing)
    stranger = RefundLine("gid://shopify/LineItem/7", 1)
    with pytest.raises(NotFound):
        await port.refund(key_of(order), wanted(usd("20.00"), stranger), Ask(), nothing)
    with pytest.raises(Conflict, match="shipping"):
        await port.refund(key_of(order), wanted(usd("20.00"), shipping=usd("19.00")), Ask(), nothing)
    with pytest.raises(NotFound):
        await port.refund(OrderKey("gid://shopify/Order/7", None), wanted(usd("1")), Ask(), nothing)
    assert "refundCreate" not in await journal.calls()
    await port.refund(key_of(order), wanted(usd(order["total"]), line(order), line(order, 1)), Ask(), nothing)
    assert (await stands(sandbox, order))["displayFinancialStatus"] == "REFUNDED"


async def test_an_order_that_nobody_paid_has_nothing_to_give_back(sandbox: Sandbox, port: ShopifyPort) -> None:
    row = (await sandbox.get("world", limit=1, offset=310))["skus"][0]
    order = await sandbox.place_order({"sku": row["sku"]}, financialStatus="PENDING")
    currency = (await stands(sandbox, order))["presentmentCurrencyCode"]
    with pytest.raises(Conflict):
        await port.refund(key_of(order), wanted(Money(Decimal(1), currency)), Ask(), nothing)


@pytest.mark.parametrize(
    "refund",
    [
        RefundWanted("", (), usd(1)),
        RefundWanted("a]", (), usd(1)),
        RefundWanted("a", (), usd(0)),
        RefundWanted("a", (), usd(-1)),
        RefundWanted("a", (RefundLine("gid://shopify/LineItem/1", 0),), usd(1)),
        RefundWanted("a", (), usd(1), shipping=usd(2)),
        RefundWanted("a", (), usd(1), shipping=usd(-1)),
        RefundWanted("a", (), usd(1), shipping=Money(Decimal(1), "EUR")),
        RefundWanted("a", (), usd("1.005")),
        RefundWanted("a", (), usd("1e40")),
        RefundWanted("a", (), Money(Decimal("9.5"), "JPY")),
        RefundWanted("a", (RefundLine("gid://shopify/LineItem/1", 1, amount=usd(2)),), usd(1)),
        RefundWanted("a", (RefundLine("gid://shopify/LineItem/1", 1, amount=usd(2)),), usd(2), shipping=usd(1)),
    ],
)
async def test_what_is_no_refund_asks_nothing(open_port: OpenPort, refund: RefundWanted) -> None:
    script = Script(lambda name, given: {})
    with pytest.raises(Invalid):
        await open_port(wire=script.wire()).refund(OrderKey("gid://shopify/Order/1", None), refund, Ask(), nothing)
    assert script.asked == []


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
async def test_a_buyer_gets_back_the_currency_that_was_paid(sandbox: Sandbox, port: ShopifyPort, currency: str) -> None:
    order = await bought(sandbox, 2, currency=currency)
    paid = Decimal((await stands(sandbox, order))["totalReceivedSet"]["presentmentMoney"]["amount"])
    with pytest.raises(Invalid, match=f"paid in {currency}"):
        await port.refund(key_of(order), wanted(usd("3.21")), Ask(), nothing)
    # Three yen are two cents here: nothing to round.
    part = paid // 12 * 3
    await port.refund(key_of(order), wanted(Money(part, currency)), Ask(), nothing)
    # In the shop's own where the shop names both: what a line costs.
    await port.refund(key_of(order), wanted(usd("20.00"), line(order)), Ask(), nothing)
    told = await ask(sandbox, REFUNDED, id=order["id"])
    bags = [each["transactions"]["nodes"][0]["amountSet"] for each in told["order"]["refunds"]]
    assert (Decimal(bags[0]["presentmentMoney"]["amount"]), bags[0]["presentmentMoney"]["currencyCode"]) == (
        part,
        currency,
    )
    assert Decimal(bags[1]["shopMoney"]["amount"]) == 20


async def test_no_scope_and_a_caller_that_may_not(sandbox: Sandbox, open_port: OpenPort, port: ShopifyPort) -> None:
    order = await bought(sandbox, 1)
    journal = await sandbox.journal()

    async def fenced() -> None:
        raise Transient("Somebody else has it.")

    with pytest.raises(Transient, match="Somebody else"):
        await port.refund(key_of(order), wanted(usd("1.00")), Ask(), fenced)
    assert "refundCreate" not in await journal.calls()
    reader = open_port(sandbox.url, access_token="shpat_sandbox_readonly")
    with pytest.raises(Unauthorized, match="write_orders"):
        await reader.refund(key_of(order), wanted(usd("1.00")), Ask(), nothing)
    assert await made(sandbox, journal) == []


# Where an attempt can break: before it leaves, on the way, after it was carried out, in an answer with half its data.
BREAKS = ["nothing", "before_send", "reset", "apply_then_reset", "apply_then_status", "broken", "read"]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    refunds=st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 90), st.lists(st.sampled_from(BREAKS), max_size=3)), max_size=4
    )
)
async def test_whatever_breaks_each_refund_is_made_once_at_most_and_never_more_than_was_paid(
    sandbox: Sandbox, port: ShopifyPort, refunds: list[tuple[int, int, list[str]]]
) -> None:
    """Of an order of 3 units at 20.00; each refund is (units, dollars, what breaks its attempts before the last)."""
    order = await bought(sandbox, 3)
    journal = await sandbox.journal()
    settled: dict[str, Receipt | HouseError] = {}
    for units, dollars, breaks in refunds:
        one = wanted(usd(dollars), line(order, quantity=units))
        for attempt, broken in enumerate([*breaks, "nothing"]):
            answer = await attempted(sandbox, port, order, one, broken, sent_before=attempt > 0)
            if not isinstance(answer, OutcomeUnknown | Transient | RuntimeError):
                settled[one.reference] = answer
                break
        else:
            raise AssertionError(f"the last attempt came to nothing: {answer}")
    effects = await made(sandbox, journal)
    found = await stands(sandbox, order)
    refunded = sum(Decimal(each["amount"]) for each in effects)
    assert refunded <= order["total"]
    assert refunded == Decimal(found["totalRefundedSet"]["shopMoney"]["amount"])
    units_back = Counter(
        each["lineItemId"] for effect in effects for each in effect["lines"] for _ in range(each["quantity"])
    )
    assert all(units <= 3 for units in units_back.values())
    receipts = {name: answer.reference for name, answer in settled.items() if isinstance(answer, Receipt)}
    assert sorted(str(reference) for reference in receipts.values()) == sorted(each["refundId"] for each in effects)
    assert {names(effects)[str(reference)] for reference in receipts.values()} == receipts.keys()
    assert all(names(effects)[str(reference)] == name for name, reference in receipts.items())


def names(effects: list[dict[str, Any]]) -> dict[str, str]:
    """Our reference in the note of each refund, by the refund's id."""
    return {each["refundId"]: each["note"].removeprefix("[acorn ").removesuffix("]") for each in effects}


async def attempted(
    sandbox: Sandbox, port: ShopifyPort, order: Mapping[str, Any], one: RefundWanted, broken: str, *, sent_before: bool
) -> Receipt | HouseError | RuntimeError:
    """One attempt, and what broke it."""

    async def before_send() -> None:
        if broken == "before_send":
            raise RuntimeError("the process died")

    if broken == "broken":
        await sandbox.post("internal-errors", operation="refundCreate", count=1)
    elif broken == "read":
        await sandbox.faults({"operation": "order", "kind": "reset", "count": 1})
    elif broken not in ("nothing", "before_send"):
        await sandbox.faults({"operation": "refundCreate", "kind": broken, "count": 1})
    try:
        return await port.refund(key_of(order), one, Ask(), before_send, sent_before=sent_before)
    except (HouseError, RuntimeError) as problem:
        return problem
    finally:
        await sandbox.faults()
        await sandbox.post("internal-errors", operation="refundCreate", count=0)


# What the sandbox does not do: words about the key, strange answers.

GID = "gid://shopify/Order/1"


def bag(amount: str, currency: str = "USD") -> dict[str, Any]:
    money = {"amount": amount, "currencyCode": currency}
    return {"shopMoney": money, "presentmentMoney": money}


def shop(
    *said: str | dict[str, Any],
    notes: list[list[str] | httpx.Response] | None = None,
    payments: list[tuple[str, str]] | None = None,
    tax_on_top: dict[str, Any] | None = None,
    shipping: dict[str, Any] | None = None,
) -> Script:
    """A shop with an order of 100 USD, 5 of them (or `shipping`) for shipping, with taxes in them or `tax_on_top`.

    `said` are its answers to refundCreate, `notes` those of its refunds at each look.
    """
    answers, looks = iter(said), iter(notes or [])
    currency = (shipping or bag("0"))["presentmentMoney"]["currencyCode"]

    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "RefundsMade":
            look = next(looks, [])
            if isinstance(look, httpx.Response):
                return look
            refunds = [{"id": f"gid://shopify/Refund/{n}", "note": note} for n, note in enumerate(look)]
            return {"order": {"id": GID, "name": "#1", "refunds": refunds}}
        if name == "Refundable":
            whole = [
                {
                    "gateway": gateway,
                    "maximumRefundableSet": bag(most, currency),
                    "parentTransaction": {"id": f"parent of {gateway}"},
                }
                for gateway, most in payments or [("shopify_payments", "100.0")]
            ]
            return {
                "nodes": [],
                "order": {
                    "id": GID,
                    "name": "#1",
                    "presentmentCurrencyCode": currency,
                    "taxesIncluded": tax_on_top is None,
                    "wanted": {
                        "amountSet": bag("0.0", currency),
                        "maximumRefundableSet": bag("100.0", currency),
                        "shipping": {
                            "maximumRefundableSet": shipping or bag("5.0"),
                            "taxSet": tax_on_top or bag("0.4", currency),
                        },
                    },
                    "whole": {"suggestedTransactions": whole},
                },
            }
        told = next(answers)
        if isinstance(told, dict):
            return told
        return {"refundCreate": {"refund": None, "userErrors": [{"field": None, "message": told}]}}

    return Script(answer)


MADE = {"refundCreate": {"refund": {"id": "gid://shopify/Refund/9"}, "userErrors": []}}
RUNNING = "This request is currently in progress, please try again."
OTHER = "The same idempotency key cannot be used with different operation parameters."
SPENT = "A previous request with this idempotency key failed. Retry with a new idempotency key."


async def refund(port: ShopifyPort, one: RefundWanted) -> Receipt:
    return await port.refund(OrderKey(GID, None), one, Ask(), nothing)


async def test_what_is_sent(open_port: OpenPort) -> None:
    script = shop(MADE, payments=[("gift_card", "30.0"), ("shopify_payments", "70.0")])
    one = wanted(usd("45.50"), RefundLine("gid://shopify/LineItem/1", 1), shipping=usd("4.00"), reference="r-1")
    port = open_port(wire=script.wire())
    with pytest.raises(NotFound):
        await refund(port, one)
    await refund(port, replace(one, lines=()))
    (sent,) = [given for name, given in script.asked if name == "Refund"]
    assert sent["input"] == {
        "orderId": GID,
        "currency": "USD",
        "note": "[acorn r-1]",
        "notify": True,
        "refundLineItems": [],
        "shipping": {"amount": "4.00"},
        "transactions": [
            {
                "orderId": GID,
                "kind": "REFUND",
                "gateway": "gift_card",
                "parentId": "parent of gift_card",
                "amount": "30.0",
            },
            {
                "orderId": GID,
                "kind": "REFUND",
                "gateway": "shopify_payments",
                "parentId": "parent of shopify_payments",
                "amount": "15.50",
            },
        ],
    }


@pytest.mark.parametrize(
    ("wanted_shipping", "tax", "sent"),
    [
        ("5.00", None, "5.00"),
        ("2.70", None, "2.70"),
        ("5.40", bag("0.4"), "5.00"),
        ("2.70", bag("0.4"), "2.50"),
        ("0.01", bag("0.4"), "0.01"),
        ("5.00", bag("0.0"), "5.00"),
    ],
)
async def test_shipping_is_told_without_its_tax_where_prices_come_without_taxes(
    open_port: OpenPort, wanted_shipping: str, tax: dict[str, Any] | None, sent: str
) -> None:
    script = shop(MADE, tax_on_top=tax)
    await refund(open_port(wire=script.wire()), wanted(usd("20.00"), shipping=usd(wanted_shipping)))
    (given,) = [given["input"] for name, given in script.asked if name == "Refund"]
    assert (given["shipping"], given["transactions"][0]["amount"]) == ({"amount": sent}, "20.00")


async def test_no_more_shipping_goes_back_than_there_is_with_its_tax(open_port: OpenPort) -> None:
    for shipping, tax, most in (("5.01", None, "5.0"), ("5.41", bag("0.4"), "5.4")):
        script = shop(MADE, tax_on_top=tax)
        with pytest.raises(Conflict, match=f"has {most} left"):
            await refund(open_port(wire=script.wire()), wanted(usd("20.00"), shipping=usd(shipping)))
        assert "Refund" not in [name for name, _ in script.asked]


async def test_shipping_in_yen_stays_whole(open_port: OpenPort) -> None:
    script = shop(MADE, shipping=bag("50", "JPY"), tax_on_top=bag("5", "JPY"))
    yen = Money(Decimal(30), "JPY")
    await refund(open_port(wire=script.wire()), wanted(yen, shipping=yen))
    (given,) = [given["input"] for name, given in script.asked if name == "Refund"]
    assert (given["currency"], given["shipping"], given["transactions"][0]["amount"]) == ("JPY", {"amount": "27"}, "30")


async def test_what_cannot_go_back_the_way_it_came_is_refused(open_port: OpenPort) -> None:
    script = shop(payments=[("gift_card", "30.0")])
    with pytest.raises(Conflict, match=r"15\.50 of 45\.50"):
        await refund(open_port(wire=script.wire()), wanted(usd("45.50")))
    assert "Refund" not in [name for name, _ in script.asked]


@pytest.mark.parametrize("words", [RUNNING, OTHER])
async def test_an_attempt_that_came_through_is_looked_for_and_never_passed_over(
    open_port: OpenPort, words: str
) -> None:
    one = wanted(usd("1.00"))
    with pytest.raises(OutcomeUnknown, match="earlier attempt"):
        await refund(open_port(wire=shop(words, notes=[[], []]).wire()), one)
    found = await refund(open_port(wire=shop(words, notes=[[], ["", f"gone [acorn {one.reference}]"]]).wire()), one)
    assert found.reference == "gid://shopify/Refund/1"


@pytest.mark.parametrize("status", [403, 404, 429, 500])
@pytest.mark.parametrize("words", [RUNNING, OTHER, SPENT])
async def test_where_an_attempt_came_through_and_cannot_be_looked_for_it_is_unknown(
    open_port: OpenPort, words: str, status: int
) -> None:
    script = shop(words, notes=[[], httpx.Response(status)])
    with pytest.raises(OutcomeUnknown, match="cannot be looked for"):
        await refund(open_port(wire=script.wire()), wanted(usd("1.00")))
    assert [name for name, _ in script.asked].count("Refund") == 1


async def test_an_attempt_that_failed_is_made_again_under_the_next_key_and_always_the_same_ones(
    open_port: OpenPort,
) -> None:
    one = wanted(usd("1.00"))
    first, second = shop(SPENT, MADE), shop(SPENT, SPENT, SPENT)
    assert (await refund(open_port(wire=first.wire()), one)).reference == "gid://shopify/Refund/9"
    with pytest.raises(Conflict, match="3 times"):
        await refund(open_port(wire=second.wire()), one)
    keys = [[given["key"] for name, given in script.asked if name == "Refund"] for script in (first, second)]
    assert keys[0] == keys[1][:2]
    assert len(set(keys[1])) == 3


async def test_a_refusal_is_told_in_the_platforms_words(open_port: OpenPort) -> None:
    with pytest.raises(Invalid, match="does not refund: Nope"):
        await refund(open_port(wire=shop("Nope.").wire()), wanted(usd("1.00")))


@pytest.mark.parametrize("answer", [{"refundCreate": None}, {"refundCreate": {"refund": None, "userErrors": []}}])
async def test_an_answer_that_makes_no_sense_leaves_the_outcome_open(
    open_port: OpenPort, answer: dict[str, Any]
) -> None:
    with pytest.raises(OutcomeUnknown):
        await refund(open_port(wire=shop(answer).wire()), wanted(usd("1.00")))


async def test_an_order_with_more_refunds_than_can_be_looked_through_is_left_alone(open_port: OpenPort) -> None:
    with pytest.raises(Conflict, match="250"):
        await refund(open_port(wire=shop(MADE, notes=[[""] * 250]).wire()), wanted(usd("1.00")))
