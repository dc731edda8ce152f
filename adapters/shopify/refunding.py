"""Giving money back: refundCreate, once for each reference of ours.

The platform carries a key out once and repeats its answer for about a day. So that a repeat is harmless for ever, our reference
also stands in the refund's note, and the order's refunds are always read before anything is sent. The shop is asked what can be
refunded: more than is left of the order, or of a line, is refused here, and by the platform (never `allowOverRefunding`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.shopify.client import Reply, ShopClient
from adapters.shopify.document import PAGE, Document
from adapters.shopify.paging import answered
from adapters.shopify.problems import Problem
from adapters.shopify.wire import Ref, coin, exact
from adapters.transport import lost
from adapters.wire import Price, Unclear, Wire, read
from domain.budget import Ask
from domain.errors import Conflict, HouseError, Invalid, NotFound, OutcomeUnknown
from domain.ids import derived_id
from domain.money import Money
from domain.refund import RefundWanted, Restock

KEYS = 3  # an attempt that failed uses its key up
MARK = "[acorn "  # our reference follows it, in the note of a refund
LONGEST_NOTE = 200  # characters of a caller's note that are kept

# Errors of this mutation have no code. In these words the platform speaks of the key, not of the refund.
KEY_SPENT = "previous request with this idempotency key failed"
KEY_WORDS = (KEY_SPENT, "idempotency key", "currently in progress")

RESTOCKS: Mapping[Restock, str] = {
    Restock.RETURN: "RETURN",
    Restock.CANCEL: "CANCEL",
    Restock.NONE: "NO_RESTOCK",
}

_BOTH = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"

REFUNDS_MADE = Document(
    "RefundsMade",
    "order",
    2,
    f"query RefundsMade($id: ID!) {{ order(id: $id) {{ id name refunds(first: {PAGE}) {{ id note }} }} }}",
)

REFUNDABLE = Document(
    "Refundable",
    "nodes+order",
    7,
    f"""query Refundable($id: ID!, $lines: [RefundLineItemInput!], $shipping: Boolean, $ids: [ID!]!) {{
  nodes(ids: $ids) {{ ... on LineItem {{ id refundableQuantity }} }}
  order(id: $id) {{
    id name presentmentCurrencyCode taxesIncluded
    wanted: suggestedRefund(refundLineItems: $lines, refundShipping: $shipping) {{
      amountSet {_BOTH} maximumRefundableSet {_BOTH}
      shipping {{ maximumRefundableSet {_BOTH} taxSet {_BOTH} }}
    }}
    whole: suggestedRefund(suggestFullRefund: true) {{
      suggestedTransactions {{ gateway maximumRefundableSet {_BOTH} parentTransaction {{ id }} }}
    }}
  }}
}}""",
)

REFUND = Document(
    "Refund",
    "refundCreate",
    20,
    """mutation Refund($input: RefundInput!, $key: String!) {
  refundCreate(input: $input) @idempotent(key: $key) { refund { id } userErrors { field message } }
}""",
    write=True,
    itemized=True,
)


@dataclass(frozen=True, slots=True)
class _Both:
    """An amount as the buyer saw it, and in the shop's own currency."""

    seen: Money
    shop: Money

    def __add__(self, other: _Both) -> _Both:
        return _Both(self.seen + other.seen, self.shop + other.shop)


class _Bag(Wire):
    shop_money: Price
    presentment_money: Price

    @property
    def both(self) -> _Both:
        """Raises Unclear."""
        return _Both(self.presentment_money.money(), self.shop_money.money())


class _Refund(Wire):
    id: str
    note: str | None


class _Refunded(Wire):
    name: str
    refunds: list[_Refund]


class _Shipping(Wire):
    maximum_refundable_set: _Bag
    tax_set: _Bag


class _Wanted(Wire):
    amount_set: _Bag
    maximum_refundable_set: _Bag
    shipping: _Shipping


class _Transaction(Wire):
    gateway: str | None
    maximum_refundable_set: _Bag | None
    parent_transaction: Ref | None


class _Whole(Wire):
    suggested_transactions: list[_Transaction]


class _Order(Wire):
    id: str
    name: str
    presentment_currency_code: str
    taxes_included: bool
    wanted: _Wanted | None
    whole: _Whole | None


class _Line(Wire):
    id: str
    refundable_quantity: int


class _Payload(Wire):
    refund: Ref | None
    user_errors: list[Problem]


async def refund(
    client: ShopClient,
    key: OrderKey,
    wanted: RefundWanted,
    ask: Ask,
    before_send: BeforeSend,
) -> Receipt:
    """Refund what is wanted; the buyer is told by the platform. `reference` of the receipt is the refund's global id.

    Amounts are in the currency that the buyer paid in, or in the shop's own where the shop itself names the amount in both.
    Raises NotFound; Conflict for more than is left of the order, a line or the shipping; Invalid for what is no refund;
    OutcomeUnknown where an earlier attempt of the same may still be at work.
    """
    _check(wanted)
    made = await _made(client, key, wanted, ask)
    if made is not None:
        return made
    given = await _input(client, key, wanted, ask)
    for number in range(KEYS):
        variables = {"input": given, "key": _key(client, wanted, number)}
        reply = await client.run(REFUND, variables, ask, before_send)
        payload = _payload(reply)
        if payload.refund is not None and not payload.user_errors:
            return Receipt(reply.request_id, payload.refund.id)
        said = " ".join(problem.message for problem in payload.user_errors)
        if not _of_key(said):
            raise _refused(payload.user_errors, reply.request_id)
        # An attempt before this one came through. It may show by now.
        try:
            made = await _made(client, key, wanted, ask)
        except HouseError as problem:
            text = f"An earlier attempt of the same refund ({said}), and it cannot be looked for: {problem.message}"
            raise OutcomeUnknown(text, upstream_request_id=reply.request_id) from problem
        if made is not None:
            return made
        if KEY_SPENT not in said:
            raise OutcomeUnknown(f"An earlier attempt of the same refund: {said}", upstream_request_id=reply.request_id)
    raise Conflict(f"The shop has refused the same refund {KEYS} times without telling why; look at it in its admin.")


def _check(wanted: RefundWanted) -> None:
    """Raises Invalid for what is no refund."""
    if not wanted.reference.strip() or "]" in wanted.reference:
        raise Invalid("A refund needs a reference of its own.", field=("reference",))
    if wanted.amount.amount < 0 or (wanted.amount.amount == 0 and not wanted.lines):
        raise Invalid(f"{wanted.amount.amount} {wanted.amount.currency} is nothing to refund.", field=("amount",))
    if any(line.quantity <= 0 for line in wanted.lines):
        raise Invalid("A line is refunded by at least one unit.", field=("lines",))
    exact(wanted.amount, "The refund")
    shipping = wanted.shipping
    amounts = [line.amount for line in wanted.lines if line.amount is not None]
    if amounts and len(amounts) == len(wanted.lines):
        told = sum(amounts[1:], amounts[0])
        if (told if shipping is None else told + shipping) != wanted.amount:
            raise Invalid(
                "The amounts of the lines and the shipping do not come to that of the refund.", field=("amount",)
            )
    if shipping is None:
        return
    exact(shipping, "The shipping")
    if shipping.currency != wanted.amount.currency:
        raise Invalid("The shipping is in another currency than the amount that it is a part of.", field=("shipping",))
    if not 0 <= shipping.amount <= wanted.amount.amount:
        raise Invalid("The shipping is a part of the amount and cannot be more.", field=("shipping",))


def _mark(wanted: RefundWanted) -> str:
    return f"{MARK}{wanted.reference}]"


def _note(wanted: RefundWanted) -> str:
    """The caller's note, which must not pass for the mark of another refund."""
    return (wanted.note or "").replace(MARK, "(acorn ")[:LONGEST_NOTE]


async def _made(client: ShopClient, key: OrderKey, wanted: RefundWanted, ask: Ask) -> Receipt | None:
    """The refund of this reference, if the order shows one. Raises NotFound; Conflict where there are too many to look at."""
    reply = await client.run(REFUNDS_MADE, {"id": key.external_id}, ask)
    if reply.data["order"] is None:
        text = f"{client.config.shop} has no order {key.external_id}."
        raise NotFound(text, upstream_request_id=reply.request_id)
    order = answered(_Refunded, reply.data["order"])
    found = next((each for each in order.refunds if _mark(wanted) in (each.note or "")), None)
    if found is None and len(order.refunds) == PAGE:
        raise Conflict(f"The order {order.name} has {PAGE} refunds or more; refund in the shop's admin.")
    return None if found is None else Receipt(reply.request_id, found.id)


async def _input(client: ShopClient, key: OrderKey, wanted: RefundWanted, ask: Ask) -> dict[str, Any]:
    """The mutation's input. Raises what speaks against the refund."""
    lines = [
        {
            "lineItemId": line.line_id,
            "quantity": line.quantity,
            "restockType": RESTOCKS[line.restock],
            **({"locationId": line.place} if line.place and line.restock is not Restock.NONE else {}),
        }
        for line in wanted.lines
    ]
    ids = list(dict.fromkeys(line.line_id for line in wanted.lines))
    if len(ids) > PAGE:
        raise Invalid(f"{len(ids)} lines were to be refunded at once; {PAGE} are the most.", field=("lines",))
    asked = {"id": key.external_id, "lines": lines, "shipping": wanted.shipping is not None, "ids": ids}
    reply = await client.run(REFUNDABLE, asked, ask)
    if reply.data["order"] is None:
        text = f"{client.config.shop} has no order {key.external_id}."
        raise NotFound(text, upstream_request_id=reply.request_id)
    order = answered(_Order, reply.data["order"])
    left = {
        line.id: line.refundable_quantity for line in (answered(_Line, node) for node in reply.data["nodes"] if node)
    }
    try:
        _check_units(order, wanted, left, reply.request_id)
        amount, shipping = _amounts(order, wanted, reply.request_id)
        transactions = _transactions(order, amount, reply.request_id)
    except Unclear as problem:
        raise lost(False, f"what could be refunded cannot be read: {problem}", reply.request_id) from problem
    given: dict[str, Any] = {
        "orderId": key.external_id,
        "currency": order.presentment_currency_code,
        "note": f"{_mark(wanted)} {_note(wanted)}".strip(),
        "notify": True,
        "refundLineItems": lines,
        "transactions": transactions,
    }
    return given if shipping is None else given | {"shipping": {"amount": f"{shipping:f}"}}


def _check_units(order: _Order, wanted: RefundWanted, left: Mapping[str, int], request_id: str | None) -> None:
    units: Counter[str] = Counter()
    for line in wanted.lines:
        units[line.line_id] += line.quantity
    for gid, count in units.items():
        if gid not in left:
            raise NotFound(
                f"The order {order.name} has no line {gid}.", field=("lines",), upstream_request_id=request_id
            )
        if count > left[gid]:
            text = f"{count} units of {gid} were to be refunded; the order {order.name} has {left[gid]} left of it."
            raise Conflict(text, field=("lines",), upstream_request_id=request_id)


def _amounts(order: _Order, wanted: RefundWanted, request_id: str | None) -> tuple[Decimal, Decimal | None]:
    """The amount and the shipping in the buyer's currency; the shipping as the platform wants it, which adds its tax where prices
    do not include taxes."""
    told = order.wanted
    if told is None:
        text = f"The shop suggests no refund of the order {order.name}; nothing of it was paid, or nothing is left."
        raise Conflict(text, upstream_request_id=request_id)
    most = told.maximum_refundable_set.both
    amount = _seen(wanted.amount, (told.amount_set.both, most))
    if amount > most.seen.amount:
        text = f"{amount} {most.seen.currency} were to be refunded; the order {order.name} has {most.seen.amount} left."
        raise Conflict(text, field=("amount",), upstream_request_id=request_id)
    if wanted.shipping is None or not wanted.shipping.amount:
        return amount, None
    bare = told.shipping.maximum_refundable_set.both
    whole = bare if order.taxes_included else bare + told.shipping.tax_set.both
    shipping = _seen(wanted.shipping, (whole,))
    if shipping > whole.seen.amount:
        text = f"{shipping} of shipping were to be refunded; the order {order.name} has {whole.seen.amount} left."
        raise Conflict(text, field=("shipping",), upstream_request_id=request_id)
    return amount, _share(shipping, bare.seen, whole.seen)


def _share(part: Decimal, bare: Money, whole: Money) -> Decimal:
    """What is in a `part` of the `whole` without its tax."""
    if bare == whole:
        return part
    return (part * bare.amount / whole.amount).quantize(coin(bare.currency), ROUND_HALF_UP)


def _seen(wanted: Money, told: Sequence[_Both]) -> Decimal:
    """An amount in the buyer's currency. One in the shop's own is never converted here: the shop has to name both."""
    if wanted.currency == told[0].seen.currency or not wanted.amount:
        return wanted.amount
    for one in told:
        if one.shop == wanted:
            return one.seen.amount
    raise Invalid(
        f"The buyer paid in {told[0].seen.currency} and is refunded in it; {wanted.amount} {wanted.currency} is none of the "
        "amounts that the shop names in both. Refund what whole units cost, or give it back in the shop's own admin.",
        field=("amount",),
    )


def _transactions(order: _Order, amount: Decimal, request_id: str | None) -> list[dict[str, str]]:
    """The amount by the payments that it came with, the first as far as it goes."""
    made = []
    rest = amount
    for each in order.whole.suggested_transactions if order.whole else ():
        if each.parent_transaction is None or each.gateway is None or each.maximum_refundable_set is None:
            continue
        part = min(rest, each.maximum_refundable_set.both.seen.amount)
        if part > 0:
            rest -= part
            made.append(
                {
                    "orderId": order.id,
                    "kind": "REFUND",
                    "gateway": each.gateway,
                    "parentId": each.parent_transaction.id,
                    "amount": f"{part:f}",
                }
            )
    if rest > 0:
        text = f"{rest} of {amount} of the order {order.name} cannot be given back by the way it was paid."
        raise Conflict(text, field=("amount",), upstream_request_id=request_id)
    return made


def _key(client: ShopClient, wanted: RefundWanted, number: int) -> str:
    """Equal in every process, whatever was read in between."""
    return derived_id("refund", client.config.channel.id, wanted.reference, str(number))


def _payload(reply: Reply) -> _Payload:
    try:
        payload = read(_Payload, reply.data[REFUND.operation])
    except Unclear as problem:
        raise lost(True, f"no refusal and no refund: {problem}", reply.request_id) from problem
    if payload.refund is None and not payload.user_errors:
        raise lost(True, "no refusal and no refund", reply.request_id)
    return payload


def _of_key(said: str) -> bool:
    return any(words in said for words in KEY_WORDS)


def _refused(problems: Sequence[Problem], request_id: str | None) -> HouseError:
    first = problems[0]
    return Invalid(
        f"The shop does not refund: {first.message.rstrip('.')}.",
        field=tuple(first.field or ()) or None,
        upstream_request_id=request_id,
    )
