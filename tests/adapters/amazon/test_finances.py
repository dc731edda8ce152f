"""Movements of money, from written answers and from the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon import finances
from domain.budget import Ask
from domain.errors import Invalid, Transient
from domain.finance import Transaction, counted_once
from domain.ids import ChannelId
from domain.money import Money
from domain.product import Rejected
from tests.adapters.amazon.bench import Desk, Line, Sandbox
from tests.adapters.amazon.reads import client_at, lift_plans

OpenDesk = Callable[..., Desk]
CHANNEL = ChannelId("amazon")
AT = datetime(2026, 11, 1, tzinfo=UTC)


def cash(amount: object, currency: str = "USD") -> dict[str, Any]:
    return {"currencyAmount": amount, "currencyCode": currency}


def branch(name: str, amount: object, *parts: dict[str, Any], currency: str = "USD") -> dict[str, Any]:
    return {"breakdownType": name, "breakdownAmount": cash(amount, currency), "breakdowns": list(parts) or None}


def movement(id: str | None, total: object = 10, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {} if id is None else {"transactionId": id}
    return {
        "transactionType": "Shipment",
        "transactionStatus": "RELEASED",
        "postedDate": "2026-11-02T08:00:00Z",
        "totalAmount": cash(total),
        "breakdowns": list(parts),
        **about,
        **more,
    }


def page(token: str | None, *found: object) -> httpx.Response:
    return httpx.Response(200, json={"payload": {"transactions": list(found), "nextToken": token}})


def ids(found: Sequence[Transaction]) -> list[str | None]:
    return [one.id for one in found]


FAILED = httpx.Response(500, json={"errors": [{"code": "InternalFailure", "message": "oh"}]})
DEAD = httpx.Response(400, json={"errors": [{"code": "InvalidInput", "message": "Time to live (TTL) exceeded"}]})


@pytest.mark.parametrize("failure", [FAILED, DEAD])
async def test_a_window_whose_page_token_fails_is_begun_anew_without_loss_or_doubling(
    desk: Desk, line: Line, failure: httpx.Response
) -> None:
    twin = movement(None)
    line.answers += [
        page("2", movement("A"), movement("B"), twin, twin),
        page("3"),
        failure,
        # In the meantime one has come in before the others, and two look alike.
        page("2", movement("0"), movement("A"), movement("B"), twin),
        page("3", twin, twin, movement("B"), "nonsense"),
        page("4", "nonsense"),
        page(None, movement("C")),
    ]
    pages = [one async for one in finances.transaction_pages(client_at(desk), AT, Ask(), until=AT + timedelta(days=9))]
    assert ids([one for each in pages for one in each.items]) == ["A", "B", None, None, "0", None, "C"]
    assert [one.what for each in pages for one in each.rejected] == ["transaction", "transaction"]
    assert [one.until is None for one in pages] == [True] * (len(pages) - 1) + [False]
    queries = [dict(call.url.params) for call in line.calls]
    assert [one.pop("nextToken", None) for one in queries] == [None, "2", "3", None, "2", "3", "4"]
    assert queries == [queries[0]] * 7


async def test_a_window_that_never_ends_is_given_up(desk: Desk, line: Line) -> None:
    line.answers += [page("2", movement("A")), FAILED] * 3
    told: list[str | None] = []

    async def walk() -> None:
        async for one in finances.transaction_pages(client_at(desk), AT, Ask(), until=AT + timedelta(days=9)):
            told.extend(ids(one.items))

    with pytest.raises(Transient, match="page tokens fail"):
        await walk()
    assert told == ["A"]


@pytest.mark.parametrize(("failure", "kind"), [(FAILED, Transient), (DEAD, Invalid)])
async def test_a_window_that_cannot_be_begun_fails_at_once(
    desk: Desk, line: Line, failure: httpx.Response, kind: type[Exception]
) -> None:
    line.answers.append(failure)
    with pytest.raises(kind):
        [one async for one in finances.transaction_pages(client_at(desk), AT, Ask(), until=AT + timedelta(days=9))]
    assert len(line.calls) == 1


async def test_what_is_told_is_complete_only_up_to_three_days_ago(desk: Desk, line: Line) -> None:
    line.answers.append(page(None))
    (one,) = [one async for one in finances.transaction_pages(client_at(desk), datetime.now(UTC) - timedelta(9), Ask())]
    assert one.until is not None
    assert timedelta(days=3) <= datetime.now(UTC) - one.until < timedelta(days=3, hours=1)
    before = datetime.fromisoformat(line.calls[0].url.params["postedBefore"])
    assert datetime.now(UTC) - before > timedelta(minutes=2)


async def test_each_window_that_was_told_whole_need_not_be_told_again(desk: Desk, line: Line) -> None:
    line.answers.append(page(None))
    since, until = AT - 2 * finances.WINDOW - timedelta(days=9), AT
    told = [one.until async for one in finances.transaction_pages(client_at(desk), since, Ask(), until=until)]
    assert told == [since + finances.WINDOW, since + 2 * finances.WINDOW, until]


def test_yen_are_whole_also_where_json_has_a_point() -> None:
    told = movement("A", Decimal("1200.0"), branch("Sales", Decimal("1200.0"), currency="JPY"))
    found = finances.transaction_of(CHANNEL, told | {"totalAmount": cash(Decimal("1200.0"), "JPY")})
    assert isinstance(found, Transaction)
    assert [str(one.amount) for one in (found.total, found.breakdowns[0].amount)] == ["1200", "1200"]
    # What is no whole yen is told as it came.
    odd = finances.transaction_of(CHANNEL, movement("A") | {"totalAmount": cash(Decimal("1200.5"), "JPY")})
    assert isinstance(odd, Transaction)
    assert str(odd.total.amount) == "1200.5"


@given(st.integers(min_value=-400, max_value=4000), st.integers(min_value=0, max_value=86_400_000))
def test_windows_lie_end_to_end_and_none_is_too_wide(days: int, milliseconds: int) -> None:
    end = AT + timedelta(days=days, milliseconds=milliseconds)
    found = list(finances.windows(AT, end))
    assert all(timedelta() < before - after < timedelta(days=180) for after, before in found)
    if end > AT:
        assert (found[0][0], found[-1][1]) == (AT, end)
        assert all(one[1] == other[0] for one, other in pairwise(found))
    else:
        assert found == []


def test_amounts_are_exact_and_the_tree_is_kept_whole() -> None:
    tree = [
        branch("Sales", Decimal("12.10"), branch("Product", Decimal("10.10")), branch("Tax", 2)),
        branch("Fees", -3),
    ]
    item = {
        "totalAmount": cash(Decimal("9.10")),
        "breakdowns": tree,
        "contexts": [{"contextType": "ProductContext", "sku": "A", "asin": "B0", "quantityShipped": 2}],
    }
    found = finances.transaction_of(CHANNEL, movement("A", Decimal("9.10"), *tree, items=[item]))
    assert isinstance(found, Transaction)
    leaves = [leaf for one in found.breakdowns for leaf in one.leaves()]
    assert [(one.kind, one.amount.amount) for one in leaves] == [
        ("Product", Decimal("10.10")),
        ("Tax", Decimal(2)),
        ("Fees", Decimal(-3)),
    ]
    assert found.items[0].breakdowns == found.breakdowns
    assert (found.items[0].sku, found.items[0].units) == ("A", 2)
    assert found.total == Money(Decimal("9.10"), "USD")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (movement("A", 10, branch("Sales", 9)), "the total is 10 USD, its parts add up to 9"),
        (movement("A", 10, branch("Sales", 10, branch("Tax", 9))), "Sales is 10 USD, its parts add up to 9"),
        (movement("A", 10, branch("Sales", 10, currency="EUR")), "the total is in USD, its part Sales in EUR"),
        (
            movement("A", 10, items=[{"description": "Cap", "totalAmount": cash(5), "breakdowns": [branch("X", 4)]}]),
            "the item Cap is 5 USD, its parts add up to 4",
        ),
        (movement("A", "10"), "totalAmount: Value error, should be a number"),
        (movement("A", 10, contexts=[{"contextType": "X", "more": [1]}]), "contexts.more: is no plain value"),
        (movement("A", 10, postedDate="2026-11-02"), "postedDate"),
        ("nonsense", "valid dictionary"),
    ],
)
def test_what_does_not_add_up_or_is_not_understood_is_kept_with_its_reason(raw: object, reason: str) -> None:
    found = finances.transaction_of(CHANNEL, raw)
    assert isinstance(found, Rejected)
    assert reason in found.reason
    assert found.key == ("A" if isinstance(raw, dict) else "?")


async def test_the_sandboxs_transactions_arrive_through_failing_page_tokens(
    sandbox: Sandbox, open_desk: OpenDesk
) -> None:
    await lift_plans(sandbox)
    client = client_at(open_desk(sandbox))
    since = datetime.now(UTC) - timedelta(days=200)

    async def all_of() -> list[Transaction]:
        pages = [one async for one in finances.transaction_pages(client, since, Ask())]
        assert [one.rejected for one in pages if one.rejected] == []
        return [one for each in pages for one in each.items]

    found = await all_of()
    assert len(found) > 100
    await sandbox.post("broken-page-tokens", {"count": 2})
    again = await all_of()
    keys = [one.key for one in again]
    assert len(keys) == len(set(keys))
    assert set(keys) >= {one.key for one in found}


async def test_an_orders_transactions_agree_with_its_proceeds(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    client = client_at(open_desk(sandbox, "eu"))
    since = datetime.now(UTC) - timedelta(days=60)
    pages = [one async for one in finances.transaction_pages(client, since, Ask(), code="DE")]
    sales = [one for each in pages for one in each.items if one.kind == "Shipment"]
    assert {one.marketplace for one in sales} == {"DE"}
    order_id = sales[0].values("ORDER_ID")[0]
    whole = await finances.order_transactions(client, order_id, Ask())
    assert {one.values("ORDER_ID") for one in whole.items} == {(order_id,)}
    assert counted_once(whole.items)
    for one in whole.items:
        assert sum((item.total.amount for item in one.items if item.total), Decimal(0)) == one.total.amount
        assert one.total.currency == "EUR"
