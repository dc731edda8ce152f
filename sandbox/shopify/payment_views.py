"""Shopify Payments, and what it keeps of each payment, as the API shows them."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sandbox.shopify import ids, paging
from sandbox.shopify.call import Call, Info, Resolver, Resolvers, searched
from sandbox.shopify.money import CENT, SHOP_CURRENCY, bag, money
from sandbox.shopify.orders import Payment, Refund
from sandbox.shopify.paging import Connection, Sort
from sandbox.shopify.payments import FLAT, RATE, Movement, Payments, Payout, fee_of
from sandbox.shopify.search import Field, Fields

SOURCES = {"CHARGE": "CHARGE", "REFUND": "REFUND", "TRANSFER": "TRANSFER"}


def account_of(call: Call) -> Payments | None:
    """The account as it stands now; None where the shop has none."""
    payments = call.shop.payments
    if not payments.enabled:
        return None
    payments.book(call.shop.orders, call.now)
    return payments


def refund_by_id(call: Call, given: str) -> Refund | None:
    refunds, place = call.shop.refunds, ids.place("Refund", given)
    return refunds[place] if 0 <= place < len(refunds) else None


def payout_by_id(call: Call, given: str) -> Payout | None:
    account, place = account_of(call), ids.place("ShopifyPaymentsPayout", given)
    return account.payouts[place] if account is not None and 0 <= place < len(account.payouts) else None


def movement_by_id(call: Call, given: str) -> Movement | None:
    account, place = account_of(call), ids.place("ShopifyPaymentsBalanceTransaction", given)
    return account.movements[place] if account is not None and 0 <= place < len(account.movements) else None


def _refund_shipping(refund: Refund, info: Info, **args: Any) -> Connection:
    order = refund.order
    tax = (refund.shipping * order.tax_rate / (1 + order.tax_rate)).quantize(CENT)
    row = {
        "typename": "RefundShippingLine",
        "id": ids.gid("RefundShippingLine", refund.place),
        "subtotalAmountSet": bag(refund.shipping, order.presentment),
        "taxAmountSet": bag(tax, order.presentment),
    }
    return paging.listed([row] if refund.shipping else [], args)


def _fees(payment: Payment, info: Info) -> list[dict[str, Any]]:
    fee = fee_of(payment)
    if not fee:
        return []
    return [
        {
            "typename": "TransactionFee",
            "id": ids.gid("TransactionFee", payment.order.place * 100 + payment.place),
            "amount": money(fee, SHOP_CURRENCY),
            "flatFee": money(FLAT, SHOP_CURRENCY),
            "rate": f"{RATE * 100:f}",
            "rateName": "domestic",
            "taxAmount": money(Decimal(0), SHOP_CURRENCY),
            "type": "processing_fee",
        }
    ]


def _account(_: Any, info: Info) -> Payments | None:
    return account_of(info.context)


def _payouts(payments: Payments, info: Info, **args: Any) -> Connection:
    payouts, now = payments.payouts, info.context.now
    wanted = args.get("transactionType")
    places = [each.place for each in payouts if wanted in (None, _direction(each))]
    fields: Fields = {
        "id": Field("id", lambda p: ids.number("ShopifyPaymentsPayout", p)),
        "issued_at": Field("time", lambda p: payouts[p].issued_at),
        "status": Field("string", lambda p: payouts[p].status(now)),
    }
    sorts: dict[str, Sort | None] = {
        "ISSUED_AT": lambda p: round(payouts[p].issued_at.timestamp()),
        "STATUS": lambda p: payouts[p].status(now),
    }
    return searched(info, args, fields, places, payouts.__getitem__, sorts)


def _direction(payout: Payout) -> str:
    return "WITHDRAWAL" if payout.net < 0 else "DEPOSIT"


def _movements(payments: Payments, info: Info, **args: Any) -> Connection:
    movements, now = payments.movements, info.context.now
    places: Sequence[int] = range(len(movements))
    if args.get("hideTransfers"):
        places = [each.place for each in movements if each.kind != "TRANSFER"]
    fields: Fields = {
        "id": Field("id", lambda p: ids.number("ShopifyPaymentsBalanceTransaction", p)),
        "payments_transfer_id": Field("id", lambda p: _in_payout(movements[p])),
        "payout_date": Field("time", lambda p: _of_payout(movements[p], lambda payout: payout.issued_at)),
        "payout_status": Field("string", lambda p: _of_payout(movements[p], lambda payout: payout.status(now))),
        "processed_at": Field("time", lambda p: movements[p].at),
        "transaction_type": Field("string", lambda p: movements[p].kind),
    }
    sorts: dict[str, Sort | None] = {
        "AMOUNT": lambda p: int(movements[p].amount / CENT),
        "PAYOUT_DATE": lambda p: round((_of_payout(movements[p], lambda payout: payout.issued_at) or now).timestamp()),
        "PROCESSED_AT": lambda p: round(movements[p].at.timestamp() * 1_000_000),
        "TRANSACTION_TYPE": lambda p: movements[p].kind,
    }
    return searched(info, args, fields, places, movements.__getitem__, sorts)


def _of_payout(movement: Movement, read: Callable[[Payout], Any]) -> Any:
    return None if movement.payout is None else read(movement.payout)


def _in_payout(movement: Movement) -> int | None:
    number: int | None = _of_payout(movement, lambda payout: ids.number("ShopifyPaymentsPayout", payout.place))
    return number


def _associated_payout(movement: Movement, info: Info) -> dict[str, Any]:
    if movement.payout is None:
        return {"id": None, "status": "PENDING"}
    return {"id": movement.payout.id, "status": movement.payout.status(info.context.now)}


def _associated_order(movement: Movement, info: Info) -> dict[str, Any] | None:
    order = movement.payment.order if movement.payment is not None else None
    return None if order is None else {"id": order.id, "name": order.name}


def _source(movement: Movement) -> str | None:
    payment = movement.payment
    return None if payment is None else str(ids.number("OrderTransaction", payment.order.place * 100 + payment.place))


def _summary(payout: Payout, info: Info) -> Mapping[str, Any]:
    charges, charges_fee = payout.total("CHARGE")
    refunds, refunds_fee = payout.total("REFUND")
    others, others_fee = payout.total("ADJUSTMENT")
    told = {
        "adjustmentsFee": others_fee,
        "adjustmentsGross": others,
        "chargesFee": charges_fee,
        "chargesGross": charges,
        "refundsFee": refunds_fee,
        "refundsFeeGross": refunds,
    }
    nothing = [f"{kind}{part}" for kind in ("reservedFunds", "retriedPayouts") for part in ("Fee", "Gross")]
    told |= dict.fromkeys([*nothing, "advanceFees", "advanceGross"], Decimal(0))
    return {name: money(amount, SHOP_CURRENCY) for name, amount in told.items()}


def _money_of(read: Callable[[Any], Decimal]) -> Resolver:
    return lambda source, info: money(read(source), SHOP_CURRENCY)


ACCOUNT: dict[str, Resolver] = {
    "activated": lambda account, info: True,
    "balance": lambda account, info: [money(sum((m.net for m in account.open), Decimal(0)), SHOP_CURRENCY)],
    "balanceTransactions": _movements,
    "country": lambda account, info: "US",
    "defaultCurrency": lambda account, info: SHOP_CURRENCY,
    "id": lambda account, info: ids.gid("ShopifyPaymentsAccount", 0),
    "onboardable": lambda account, info: False,
    "payouts": _payouts,
}
PAYOUT: dict[str, Resolver] = {
    "externalTraceId": lambda p, info: f"TRACE-{p.place:08d}" if p.status(info.context.now) == "PAID" else None,
    "legacyResourceId": lambda p, info: str(ids.number("ShopifyPaymentsPayout", p.place)),
    "net": _money_of(lambda payout: payout.net),
    "status": lambda p, info: p.status(info.context.now),
    "summary": _summary,
    "transactionType": lambda p, info: _direction(p),
}
MOVEMENT: dict[str, Resolver] = {
    "adjustmentReason": lambda m, info: m.reason,
    "amount": _money_of(lambda movement: movement.amount),
    "associatedOrder": _associated_order,
    "associatedPayout": _associated_payout,
    "fee": _money_of(lambda movement: movement.fee),
    "net": _money_of(lambda movement: movement.net),
    "sourceId": lambda m, info: _source(m),
    "sourceOrderTransactionId": lambda m, info: _source(m),
    "sourceType": lambda m, info: SOURCES.get(m.kind, "ADJUSTMENT"),
    "test": lambda m, info: m.payment is not None and m.payment.order.test,
    "transactionDate": lambda m, info: m.at,
    "type": lambda m, info: m.kind,
}

RESOLVERS: Resolvers = {
    "QueryRoot": {
        "refund": lambda _, info, id: refund_by_id(info.context, id),
        "shopifyPaymentsAccount": _account,
    },
    "Order": {"edited": lambda order, info: False},
    "OrderTransaction": {"fees": _fees, "settlementCurrency": lambda payment, info: SHOP_CURRENCY},
    "Refund": {"refundShippingLines": _refund_shipping},
    "ShopifyPaymentsAccount": ACCOUNT,
    "ShopifyPaymentsBalanceTransaction": MOVEMENT,
    "ShopifyPaymentsPayout": PAYOUT,
}
