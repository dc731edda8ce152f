"""What comes back of Amazon's orders, out of written answers and of the sandbox."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.amazon import returns
from adapters.amazon.returns import FBA, OURS, PAID
from adapters.port import Page
from adapters.returns import Returns
from domain.budget import Ask, Priority
from domain.chain import Gap, Piece, PieceKind, chains, gaps
from domain.money import Money
from tests.adapters.amazon.bench import Desk, Line, Sandbox
from tests.adapters.amazon.reads import client_at, lift_plans
from tests.adapters.amazon.test_finances import branch, movement, page
from tests.adapters.amazon.test_inventory_report import file, made

OpenDesk = Callable[..., Desk]
SINCE = datetime.now(UTC) - timedelta(days=3)
ID = "302-1234567-1234567"

FBA_ROW = {
    "return-date": "2026-11-20T10:30:00+01:00",
    "order-id": ID,
    "sku": "MUG",
    "quantity": "2",
    "detailed-disposition": "CARRIER_DAMAGED",
    "license-plate-number": "LPN1",
    "customer-comments": "my name is Erika",
}
OURS_ROW = {
    "Order ID": ID,
    "Return request date": "05-Mar-2026",
    "Return request status": "Approved",
    "Amazon RMA ID": "D1RRMA",
    "Merchant SKU": "TEE",
    "Return quantity": "1",
    "Return delivery date": "",
}
PAID_ROW = {
    "approval-date": "2026-11-25T08:00:00+00:00",
    "reimbursement-id": "700",
    "amazon-order-id": ID,
    "reason": "CustomerReturn",
    "sku": "MUG",
    "currency-unit": "EUR",
    "amount-total": "19.80",
    "quantity-reimbursed-total": "2",
}


def told(*rows: dict[str, str]) -> list[httpx.Response]:
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows), ""]
    return [*made(), file(gzip.compress("\n".join(lines).encode()))]


def about(sku: str | None, units: int | None, network: str | None, *parts: dict[str, Any]) -> dict[str, Any]:
    product = {"contextType": "ProductContext", "sku": sku, "quantityShipped": units, "fulfillmentNetwork": network}
    return {"breakdowns": list(parts), "contexts": [product] if sku else []}


def refund(*items: dict[str, Any], status: str = "RELEASED", id: str = "T1") -> dict[str, Any]:
    related = [("ORDER_ID", ID), ("REFUND_ID", "R9")]
    return movement(
        id,
        transactionType="Refund",
        transactionStatus=status,
        items=list(items),
        relatedIdentifiers=[
            {"relatedIdentifierName": name, "relatedIdentifierValue": value} for name, value in related
        ],
    )


async def read(
    desk: Desk,
    line: Line,
    *money: object,
    ours: Sequence[dict[str, str]] = (OURS_ROW,),
    paid: Sequence[dict[str, str]] = (PAID_ROW,),
    fba: Sequence[dict[str, str]] = (FBA_ROW,),
) -> list[Page[Piece]]:
    line.answers.extend([page(None, *money), *told(*ours), *told(*paid), *told(*fba)])
    assert isinstance(desk.port, Returns)
    return [one async for one in desk.port.return_pages(SINCE, Ask(Priority.BACKGROUND))]


def items(pages: Sequence[Page[Piece]]) -> list[Piece]:
    return [one for each in pages for one in each.items]


async def test_refunds_returns_and_reimbursements_come_to_pieces_of_one_chain(desk: Desk, line: Line) -> None:
    sales = branch("Sales", -22, branch("ProductCharges", -20), branch("Tax", -2))
    fees = branch("Expenses", 3, branch("AmazonFees", 3))
    pages = await read(desk, line, refund(about("MUG", 2, "AFN", sales, fees)), movement("T0"))
    found = {one.kind: one for one in items(pages)}
    assert len(items(pages)) == 4
    assert [each.rejected for each in pages if each.rejected] == []
    refunded = found[PieceKind.REFUNDED]
    assert (refunded.order, refunded.sku, refunded.units, refunded.by_channel) == (ID, "MUG", 2, True)
    # What the buyer got, whatever Amazon keeps or gives back of its fees.
    assert refunded.money == Money(Decimal(22), "USD")
    arrived = found[PieceKind.ARRIVED]
    assert (arrived.at, arrived.owed, arrived.condition) == (
        datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
        True,
        "CARRIER_DAMAGED",
    )
    announced = found[PieceKind.ANNOUNCED]
    assert (announced.sku, announced.at, announced.by_channel) == ("TEE", datetime(2026, 3, 5, tzinfo=UTC), False)
    assert found[PieceKind.REIMBURSED].money == Money(Decimal("19.80"), "EUR")
    mugs = next(one for one in chains(items(pages)) if one.sku == "MUG")
    assert gaps(mugs, datetime.now(UTC)) == []
    assert all("Erika" not in repr(each) for each in pages)
    asked = [call.content.decode() for call in line.calls if call.method == "POST"]
    assert [kind in body for kind, body in zip((OURS, PAID, FBA), asked, strict=True)] == [True] * 3


async def test_the_same_refund_under_another_status_is_the_same_piece(desk: Desk, line: Line) -> None:
    one = about("MUG", 1, "MFN")
    pages = await read(desk, line, refund(one, one, status="DEFERRED"), refund(one, one, id="T2"))
    refunds = [each.reference for each in items(pages) if each.kind is PieceKind.REFUNDED]
    assert refunds == ["R9:MUG:1", "R9:MUG:2"] * 2


async def test_a_delivered_return_has_arrived_and_a_denied_one_is_none(desk: Desk, line: Line) -> None:
    delivered = OURS_ROW | {"Return delivery date": "09-Mar-2026"}
    denied = OURS_ROW | {"Return request status": "Denied", "Amazon RMA ID": "D2RRMA"}
    pages = await read(desk, line, ours=[delivered, denied])
    found = [(one.kind, one.reference, one.at.day) for one in items(pages) if one.sku == "TEE"]
    assert found == [(PieceKind.ANNOUNCED, "D1RRMA:TEE", 5), (PieceKind.ARRIVED, "D1RRMA:TEE", 9)]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"fba": [FBA_ROW | {"detailed-disposition": "EATEN"}]}, "detailed-disposition: 'EATEN' is not known"),
        ({"fba": [FBA_ROW | {"quantity": "-1"}]}, "quantity is no count of units"),
        ({"fba": [FBA_ROW | {"return-date": "2026-11-20"}]}, "return-date has no time zone"),
        ({"ours": [OURS_ROW | {"Return request status": "Dancing"}]}, "Return request status: 'Dancing' is not known"),
        ({"ours": [OURS_ROW | {"Return request date": "5. Mar 26"}]}, "Return request date is no day"),
        ({"ours": [OURS_ROW | {"Order ID": ""}]}, "Order ID is missing"),
        ({"paid": [PAID_ROW | {"amount-total": "much"}]}, "'much' is not a decimal number."),
        ({"paid": [PAID_ROW | {"quantity-reimbursed-total": "0"}]}, "quantity-reimbursed-total is no count of units"),
    ],
)
async def test_what_is_not_understood_is_kept_for_people_and_hides_no_other(
    desk: Desk, line: Line, rows: dict[str, Any], reason: str
) -> None:
    good = {"fba": FBA_ROW, "ours": OURS_ROW, "paid": PAID_ROW}
    pages = await read(desk, line, **{kind: [*wrong, good[kind]] for kind, wrong in rows.items()})
    rejected = [one for each in pages for one in each.rejected]
    assert [one.reason for one in rejected] == [reason]
    assert "Erika" not in repr(rejected)
    assert len(items(pages)) == 3


async def test_a_refund_of_unknown_units_is_kept_for_people(desk: Desk, line: Line) -> None:
    pages = await read(desk, line, refund(about("MUG", None, "AFN")), refund(about("MUG", 1, None), id="T2"))
    assert len([one for each in pages for one in each.rejected]) == 2
    assert PieceKind.REFUNDED not in {one.kind for one in items(pages)}


async def test_money_of_no_product_is_a_refund_of_no_units(desk: Desk, line: Line) -> None:
    pages = await read(desk, line, refund(about(None, None, None, branch("Sales", -5))))
    (one,) = [each for each in items(pages) if each.kind is PieceKind.REFUNDED]
    assert (one.sku, one.units, one.money) == ("", 0, Money(Decimal(5), "USD"))


async def test_a_report_without_anything_to_tell_is_no_failure(desk: Desk, line: Line) -> None:
    cancelled = [made()[0], httpx.Response(200, json=made()[1].json() | {"processingStatus": "CANCELLED"})]
    line.answers.extend([page(None), *cancelled, *cancelled, *cancelled])
    assert isinstance(desk.port, Returns)
    pages = [one async for one in desk.port.return_pages(SINCE, Ask(Priority.BACKGROUND))]
    assert items(pages) == []
    until = pages[-1].until
    assert until is not None
    assert until <= datetime.now(UTC) - timedelta(days=2)


async def test_the_sandbox_tells_of_returns_as_its_orders_have_them(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    await sandbox.generous("createReport", "getReport", "getReportDocument")
    await sandbox.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    client = client_at(open_desk(sandbox))
    since = datetime.now(UTC) - timedelta(days=60)
    pages = [one async for one in returns.return_pages(client, ("US",), since, Ask())]
    assert [each.rejected for each in pages if each.rejected] == []
    found = items(pages)
    refunds = {(one.order, one.sku) for one in found if one.kind is PieceKind.REFUNDED}
    back = {(one.order, one.sku) for one in found if one.kind is PieceKind.ARRIVED}
    assert len(back) > 3
    assert back <= refunds
    assert {one.by_channel for one in found if one.kind is PieceKind.ARRIVED} == {True, False}
    # All that came back in one piece is dealt with by Amazon, or waits for us to put it back.
    left = {gap.gap for chain in chains(found) for gap in gaps(chain, datetime.now(UTC))}
    assert Gap.NOT_RESTOCKED in left
    assert Gap.NOT_REFUNDED not in left


async def test_what_comes_back_of_an_order_that_amazon_only_ships_is_told_elsewhere(desk: Desk, line: Line) -> None:
    pages = await read(desk, line, fba=[FBA_ROW | {"order-id": "S02-1234567-1234567"}, FBA_ROW])
    arrived = [one.order for one in items(pages) if one.kind is PieceKind.ARRIVED]
    assert (arrived, [one for page in pages for one in page.rejected]) == ([FBA_ROW["order-id"]], [])
