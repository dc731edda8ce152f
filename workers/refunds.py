"""The capability REFUNDS: give a buyer's money back by the way it came, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import BeforeSend, OrderKey, Port
from adapters.storefront import Refunds, RefundSent, RefundVerdicts
from domain.budget import Ask
from domain.errors import Refused
from domain.exchange import about_item_of
from domain.ids import ChannelId, OrderId
from domain.money import Money
from domain.operation import ClaimedItem
from domain.refund import RefundLine, RefundWanted, Restock
from domain.timeline import GIVEN_BACK, Step, StepKind
from store import agenda, timeline
from workers.deps import Deps
from workers.lanes import Keep, Worked
from workers.writes import Looked, Sent, carry


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one refund. Raises nothing but cancellation."""
    return await carry(deps, item, _read)


@dataclass(frozen=True, slots=True)
class _Giving:
    """Money that goes back. Usually the answer shows the refund itself, and what an attempt without an answer has left there is
    found by its reference before it is asked for again. A platform that works in its own time is looked at, both ways."""

    deps: Deps
    item: ClaimedItem
    port: Port
    order_id: OrderId
    key: OrderKey
    wanted: RefundWanted

    @property
    def looks_first(self) -> bool:
        return not isinstance(self.port, RefundVerdicts)

    @property
    def lag_s(self) -> float:
        return self.port.visibility_lag_s

    @property
    def about(self) -> tuple[str, ...]:
        return about_item_of(self.item.id, self.item.operation, self.key.external_id)

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        if not isinstance(self.port, Refunds):
            raise Refused(f"{self.item.channel} takes no refunds from us; give the money back there.")
        receipt = await self.port.refund(self.key, self.wanted, ask, before_send, sent_before=sent_before)
        id = receipt.upstream_request_id
        if not self.looks_first:
            return Sent(id, detail={} if receipt.reference is None else {agenda.SENT_AS: receipt.reference})
        return Sent(id, live=True, keep=self._note(receipt.reference, id), locks=frozenset({self.order_id}))

    async def look(self, ask: Ask) -> Looked:
        """What became of it, at a platform that tells so afterwards."""
        if not isinstance(self.port, RefundVerdicts):
            raise Refused("A refund is told by its own answer there and never looked for by itself.")
        async with self.deps.store.begin() as tx:
            noted = (await timeline.by_orders(tx, [self.order_id])).get(self.order_id, [])
            first = await agenda.longest_unseen(tx, self.item.capability, self.item.resource)
        sent = RefundSent(
            at=self.item.sent_at or self.deps.clock(),
            sent_as=self._name(agenda.SENT_AS),
            before=self._name(agenda.SENT_BEFORE_AS),
            taken=[one.key.removeprefix(GIVEN_BACK) for one in noted if one.key.startswith(GIVEN_BACK)],
            first=first == self.item.id,
        )
        sight = await self.port.refund_seen(self.key, self.wanted, sent, ask)
        if sight.shown is None:
            return Looked(False, missing="no such refund", refused=sight.refused, again_s=sight.again_s)
        return Looked(True, keep=self._note(sight.shown, None), locks=frozenset({self.order_id}))

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        return looked

    def _name(self, key: str) -> str | None:
        told = self.item.payload.get(key)
        return None if told is None else str(told)

    def _note(self, reference: str | None, upstream_request_id: str | None) -> Keep:
        async def note(tx: AsyncConnection) -> None:
            amount = self.wanted.amount
            step = Step(
                self.order_id,
                StepKind.REFUNDED,
                str(self.item.payload["by"]),
                f"{amount.amount} {amount.currency} are given back ({self.item.payload['reason']}).",
                f"{GIVEN_BACK}{reference or self.item.id}",
                operation=self.item.operation,
                upstream_request_id=upstream_request_id,
            )
            await timeline.note(tx, [step])

        return note


def _read(deps: Deps, item: ClaimedItem) -> _Giving:
    payload: Mapping[str, Any] = item.payload
    currency, shipping = payload["currency"], payload["shipping"]
    wanted = RefundWanted(
        reference=str(item.id),
        lines=tuple(RefundLine(line["line"], line["quantity"], Restock(line["restock"])) for line in payload["lines"]),
        amount=Money(Decimal(payload["amount"]), currency),
        shipping=None if shipping is None else Money(Decimal(shipping), currency),
        note=payload["reason"],
    )
    key = OrderKey(payload["external_id"], payload["marketplace"], payload["refs"])
    return _Giving(deps, item, deps.ports[ChannelId(item.channel)], OrderId(payload["order_id"]), key, wanted)
