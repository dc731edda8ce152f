"""Money given back. Sources: listRefunds and createRefund, which keeps our `reference` and shows it again."""

from __future__ import annotations

from typing import Any, Literal

from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.rest.client import Reply, RestClient, answered, make
from adapters.rest.offers import Offers
from adapters.rest.operations import CREATE_REFUND, LIST_REFUNDS
from adapters.rest.wire import Body, Count, Instant, Price, told
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.errors import OutcomeUnknown, Refused, Transient
from domain.refund import Refund, RefundLine, RefundWanted, Restock


class _Line(Body):
    line_id: str
    quantity: Count
    restock: Literal["return", "cancel", "none"] = "none"
    location_id: str | None = None
    amount: Price | None = None


class _Refund(Body):
    id: str
    amount: Price
    created_at: Instant
    lines: list[_Line]
    reference: str | None = None


class _Refunds(Body):
    """All of an order on one page: where a shop has more pages, ours may be on the next, and is not looked for there."""

    data: list[Any]
    next_cursor: None


async def refunds(client: RestClient, offers: Offers, key: OrderKey, ask: Ask) -> list[Refund]:
    """Those that there are, oldest first. Raises NotFound; Transient for one that cannot be read."""
    found, reply = await _listed(client, offers, key, ask)
    try:
        return [_refund(one) for one in found]
    except Unclear as problem:
        raise _unreadable(key, problem, reply) from problem


async def refund(
    client: RestClient,
    offers: Offers,
    key: OrderKey,
    wanted: RefundWanted,
    ask: Ask,
    before_send: BeforeSend,
    *,
    sent_before: bool = False,
) -> Receipt:
    """Refund once. With `sent_before` it is looked for first, by our reference.

    Raises OutcomeUnknown, and nothing is sent, where that is refused, and where a shop that shows no references shows a refund
    that may be this one.
    """
    await offers.need(CREATE_REFUND, ask)
    if sent_before:
        try:
            found, reply = await _listed(client, offers, key, ask)
        except Refused as problem:
            # It says nothing of the attempt before.
            raise OutcomeUnknown(
                f"Whether the order {key.external_id} was refunded before cannot be looked for: {problem.message}",
                upstream_request_id=problem.upstream_request_id,
            ) from problem
        mine = next((one for one in found if one.reference == wanted.reference), None)
        if mine is not None:
            return Receipt(reply.request_id, mine.id)
        if any(not one.reference and _money_equal(one, wanted) for one in found):
            raise OutcomeUnknown(
                f"The order {key.external_id} shows a refund of {wanted.amount.amount} {wanted.amount.currency} that does "
                "not say whose it is; look there whether it is this one.",
                upstream_request_id=reply.request_id,
            )
    return await make(client, CREATE_REFUND, key, wanted.reference, _body(wanted), ask, before_send)


async def _listed(client: RestClient, offers: Offers, key: OrderKey, ask: Ask) -> tuple[list[_Refund], Reply]:
    await offers.need(LIST_REFUNDS, ask)
    reply = await client.call(LIST_REFUNDS, ask, at={"id": key.external_id})
    try:
        return sorted(
            (read(_Refund, row) for row in answered(_Refunds, reply).data), key=lambda one: one.created_at
        ), reply
    except Unclear as problem:
        raise _unreadable(key, problem, reply) from problem


def _unreadable(key: OrderKey, problem: Unclear, reply: Reply) -> Transient:
    words = f"A refund of the order {key.external_id} cannot be read: {problem}"
    return Transient(words, upstream_request_id=reply.request_id)


def _money_equal(one: _Refund, wanted: RefundWanted) -> bool:
    return one.amount.amount == wanted.amount.amount and one.amount.currency == wanted.amount.currency


def _refund(one: _Refund) -> Refund:
    lines = [
        RefundLine(
            line.line_id,
            line.quantity,
            Restock(line.restock.upper()),
            line.location_id,
            None if line.amount is None else line.amount.money(),
        )
        for line in one.lines
    ]
    return Refund(one.id, one.created_at, one.amount.money(), tuple(lines))


def _body(wanted: RefundWanted) -> dict[str, Any]:
    body: dict[str, Any] = {
        "lines": [_line(line) for line in wanted.lines],
        "amount": told(wanted.amount),
        "reference": wanted.reference,
    }
    if wanted.shipping is not None:
        body["shipping"] = told(wanted.shipping)
    if wanted.note is not None:
        body["note"] = wanted.note
    return body


def _line(line: RefundLine) -> dict[str, Any]:
    told_of: dict[str, Any] = {
        "line_id": line.line_id,
        "quantity": line.quantity,
        "restock": line.restock.value.lower(),
    }
    if line.place is not None:
        told_of["location_id"] = line.place
    if line.amount is not None:
        told_of["amount"] = told(line.amount)
    return told_of
