"""What stands in the reports of returns and reimbursements, and the reimbursements themselves.

Source: SP-API documentation, "FBA Reports", "Returns reports".
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon.inventory import fn_sku
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.state import LANGUAGES, Amazon, Line, Order, Refund, Reimbursement, money
from sandbox.control import answer

if TYPE_CHECKING:
    from sandbox.amazon.report_rows import Row, Wanted

RETURN_COLUMNS = (
    "return-date",
    "order-id",
    "sku",
    "asin",
    "fnsku",
    "product-name",
    "quantity",
    "fulfillment-center-id",
    "detailed-disposition",
    "reason",
    "status",
    "license-plate-number",
    "customer-comments",
)
MERCHANT_RETURN_COLUMNS = (
    "Order ID",
    "Order date",
    "Return request date",
    "Return request status",
    "Amazon RMA ID",
    "Return carrier",
    "Tracking ID",
    "ASIN",
    "Merchant SKU",
    "Item Name",
    "Return quantity",
    "Return reason",
    "Return delivery date",
    "Refunded Amount",
)
REIMBURSEMENT_COLUMNS = (
    "approval-date",
    "reimbursement-id",
    "case-id",
    "amazon-order-id",
    "reason",
    "sku",
    "fnsku",
    "asin",
    "product-name",
    "condition",
    "currency-unit",
    "amount-per-unit",
    "amount-total",
    "quantity-reimbursed-cash",
    "quantity-reimbursed-inventory",
    "quantity-reimbursed-total",
    "original-reimbursement-id",
    "original-reimbursement-type",
)
CONDITIONS = ("SELLABLE", "CUSTOMER_DAMAGED", "DEFECTIVE", "EXPIRED", "DAMAGED", "CARRIER_DAMAGED")


def return_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """One row for each line that came back to Amazon within the range, oldest first, as known at the last midnight (UTC)."""
    midnight = amazon.clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for refund, order, line in _refunded(amazon, wanted, "AMAZON"):
        if refund.condition is None or refund.refunded_at >= midnight:
            continue
        cells = dict.fromkeys(RETURN_COLUMNS, "") | {
            "return-date": refund.refunded_at.isoformat(timespec="seconds"),
            "order-id": order.id,
            "sku": line.product.sku,
            "asin": line.product.asin,
            "fnsku": fn_sku(line.product),
            "product-name": line.product.titles[LANGUAGES[order.marketplace]],
            "quantity": str(refund.items[line.id]),
            "detailed-disposition": refund.condition,
            "license-plate-number": _digits(amazon, "LPN", order, refund, line),
        }
        yield list(cells.values())


def merchant_return_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """One row for each line that a buyer of a merchant's sends back; what came back was delivered on the day of its refund."""
    for refund, order, line in _refunded(amazon, wanted, "MERCHANT"):
        day = f"{refund.refunded_at:%d-%b-%Y}"
        cells = dict.fromkeys(MERCHANT_RETURN_COLUMNS, "") | {
            "Order ID": order.id,
            "Order date": f"{order.created_at:%d-%b-%Y}",
            "Return request date": day,
            "Return request status": "Approved",
            "Amazon RMA ID": _digits(amazon, "D", order, refund, line) + "RRMA",
            "ASIN": line.product.asin,
            "Merchant SKU": line.product.sku,
            "Item Name": line.product.titles[LANGUAGES[order.marketplace]],
            "Return quantity": str(refund.items[line.id]),
            "Return delivery date": day if refund.condition is not None else "",
        }
        yield list(cells.values())


def reimbursement_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """One row for each payment approved within the range."""
    for one in amazon.reimbursements:
        inside = wanted.start <= one.approved_at <= wanted.end
        if one.account is not wanted.account or one.marketplace not in wanted.marketplaces or not inside:
            continue
        cells = dict.fromkeys(REIMBURSEMENT_COLUMNS, "") | {
            "approval-date": one.approved_at.isoformat(timespec="seconds"),
            "reimbursement-id": one.id,
            "amazon-order-id": one.order or "",
            "reason": one.reason,
            "sku": one.sku,
            "asin": one.asin,
            "currency-unit": MARKETPLACES[one.marketplace].currency,
            "amount-per-unit": str(money(one.amount / one.units, one.marketplace)),
            "amount-total": str(one.amount),
            "quantity-reimbursed-cash": str(one.units),
            "quantity-reimbursed-inventory": "0",
            "quantity-reimbursed-total": str(one.units),
        }
        yield list(cells.values())


def _refunded(amazon: Amazon, wanted: Wanted, fulfilled_by: str) -> list[tuple[Refund, Order, Line]]:
    """The lines refunded within the range, oldest first."""
    found = [
        (refund, order, line)
        for order in amazon.orders.values()
        if order.account is wanted.account and order.marketplace in wanted.marketplaces
        if order.fulfilled_by == fulfilled_by
        for refund in order.refunds
        if wanted.start <= refund.refunded_at <= wanted.end
        for line in order.lines
        if refund.items.get(line.id)
    ]
    return sorted(found, key=lambda one: (one[0].refunded_at, one[1].id, one[2].id))


def _digits(amazon: Amazon, letters: str, order: Order, refund: Refund, line: Line) -> str:
    number = amazon.world.random(letters, order.id, refund.refunded_at.isoformat(), line.id).randrange(10**10)
    return f"{letters}{number:010d}"


def reimburse(amazon: Amazon, body: dict[str, Any]) -> dict[str, str]:
    """Amazon pays for units of an order that it ships, at the price that they were sold for."""
    if set(body) != {"order", "line", "quantity", "reason"}:
        raise ValueError('send "order" and "line", their ids, "quantity" and "reason"')
    order = amazon.orders.get(str(body["order"]))
    line = next((one for one in order.lines if one.id == str(body["line"])), None) if order else None
    if order is None or line is None or order.fulfilled_by != "AMAZON":
        raise ValueError("there is no such line of an order that Amazon ships")
    units = body["quantity"]
    if isinstance(units, bool) or not isinstance(units, int) or not 1 <= units <= line.quantity:
        raise ValueError(f"quantity is 1 to {line.quantity}")
    made = Reimbursement(
        id=str(7_000_000_001 + len(amazon.reimbursements)),
        account=order.account,
        marketplace=order.marketplace,
        order=order.id,
        sku=line.product.sku,
        asin=line.product.asin,
        units=units,
        amount=money((line.unit_price or Decimal(0)) * units, order.marketplace),
        reason=str(body["reason"]),
        approved_at=amazon.clock.now(),
    )
    amazon.reimbursements.append(made)
    amazon.journal.effect("state", order.id, {"reimbursed": units})
    return {"reimbursement": made.id}


def routes(amazon: Amazon) -> list[BaseRoute]:
    """Reimbursements."""
    return [Route("/reimbursements", answer(lambda body: reimburse(amazon, body)), methods=["POST"])]
