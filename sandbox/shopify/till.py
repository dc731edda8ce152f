"""What the control plane tells and changes of a shop's money: its payouts, and refunds made from outside."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sandbox.shopify import ids, money
from sandbox.shopify.money import price
from sandbox.shopify.orders import Order
from sandbox.shopify.payments import MOVES, Payout
from sandbox.shopify.refunds import Wanted, give_back, price_of, refundable
from sandbox.shopify.state import Shop
from sandbox.world import WAREHOUSES

ADJUSTMENTS = ("ADJUSTMENT", "CHARGEBACK_FEE", "DISPUTE_WITHDRAWAL", "RESERVED_FUNDS", "SHIPPING_LABEL")
RESTOCKS = ("CANCEL", "NO_RESTOCK", "RETURN")


def payouts(shop: Shop) -> dict[str, Any]:
    """The account, what it holds, and every payout that was issued."""
    account = shop.payments
    account.book(shop.orders, shop.now())
    held = sum((each.net for each in account.open), Decimal(0))
    return {
        "enabled": account.enabled,
        "balance": price(held),
        "payouts": [_payout(shop, each) for each in account.payouts],
    }


def _payout(shop: Shop, payout: Payout) -> dict[str, Any]:
    return {
        "id": payout.id,
        "issuedAt": payout.issued_at.isoformat(),
        "status": payout.status(shop.now()),
        "net": price(payout.net),
        "movements": [each.id for each in payout.movements],
    }


def pay_out(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Pays out all that is open, now. `adjustments` are booked before, each with `type`, `amount`, `fee` and `reason`;
    `enabled` False takes the account away, True gives it back; neither pays out."""
    unknown = set(body) - {"adjustments", "enabled"}
    if unknown:
        raise ValueError(f"{unknown.pop()!r} is none of adjustments, enabled")
    account = shop.payments
    if "enabled" in body:
        if not isinstance(body["enabled"], bool):
            raise ValueError("enabled is true or false")
        account.enabled = body["enabled"]
        return payouts(shop)
    booked = [_adjustment(each) for each in body.get("adjustments", ())]
    account.book(shop.orders, shop.now())
    for kind, amount, fee, reason in booked:
        account.move(kind, shop.now(), amount, fee, reason=reason)
    account.issue(shop.now(), account.open)
    return payouts(shop)


def _adjustment(entry: Mapping[str, Any]) -> tuple[str, Decimal, Decimal, str | None]:
    kind = entry["type"]
    if kind not in ADJUSTMENTS:
        raise ValueError(f"type is one of {', '.join(ADJUSTMENTS)}; {', '.join(sorted(set(MOVES.values())))} are made")
    amount, fee = (money.parse(entry.get(name, "0")).quantize(money.CENT) for name in ("amount", "fee"))
    return kind, amount, fee, entry.get("reason")


def refund(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """A refund as a person makes it in the admin: `order`, `lines` of `id`, `quantity`, `restock` and `location`, `amount` where
    it is not what the lines come to."""
    order = _order(shop, body["order"])
    wanted = [_wanted(order, entry) for entry in body.get("lines", ())]
    if len({id(each.line) for each in wanted}) < len(wanted):
        raise ValueError("a refund names a line once")
    left = refundable(order)
    due = sum((price_of(each.line, each.quantity) for each in wanted), Decimal(0))
    given = body.get("amount")
    amount = min(due, left) if given is None else money.parse(given).quantize(money.CENT)
    if not 0 <= amount <= left:
        raise ValueError(f"{left} can be refunded")
    if not wanted and not amount:
        raise ValueError("a refund has lines or an amount")
    made = give_back(shop, order, wanted, amount, operation="state")
    return {"refund": made.id, "amount": price(amount)}


def _order(shop: Shop, given: object) -> Order:
    order = next((each for each in shop.orders if each.id == given), None)
    if order is None:
        raise ValueError(f"there is no order {given!r}")
    return order


def _wanted(order: Order, entry: Mapping[str, Any]) -> Wanted:
    line = next((each for each in order.lines if each.id == entry["id"]), None)
    if line is None:
        raise ValueError(f"{entry['id']!r} is no line of {order.name}")
    units, restock = entry.get("quantity", 1), entry.get("restock", "NO_RESTOCK")
    if not isinstance(units, int) or isinstance(units, bool) or not 1 <= units <= line.refundable_quantity:
        raise ValueError(f"1 to {line.refundable_quantity} units of {line.id} can be refunded")
    if restock not in RESTOCKS:
        raise ValueError(f"restock is one of {', '.join(RESTOCKS)}")
    open_units = sum(each.remaining for work in order.works for each in work.lines if each.line is line)
    if restock == "CANCEL" and units > open_units:
        raise ValueError(f"{open_units} units of {line.id} have not left")
    where = entry.get("location")
    house = next((each for each in WAREHOUSES if where in (each.name, ids.gid("Location", each.number))), None)
    return Wanted(line, units, restock, house)


def places(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Which locations are `closed`, by their names; all others are open."""
    numbers = {each.name: each.number for each in WAREHOUSES}
    if unknown := [name for name in body["closed"] if name not in numbers]:
        raise ValueError(f"there is no location {unknown[0]!r}")
    shop.closed = {numbers[name] for name in body["closed"]}
    return {"closed": sorted(body["closed"])}
