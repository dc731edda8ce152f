"""Shipping other channels' orders from FBA: what is the same in both versions of Amazon's Fulfillment Outbound API.

Amazon takes each order id of ours once, so that sending again cannot ship twice. Its 400s tell by their words alone why an order
was not taken, and words decide nothing here: the order is looked for, and then a preview tells the reason by its codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from adapters.amazon.client import Client
from adapters.port import BeforeSend
from adapters.private import hiding
from adapters.wire import Unclear
from domain.address import Address
from domain.budget import Ask
from domain.errors import Conflict, HouseError, Insufficient, NotFound, OutcomeUnknown, Refused, Transient
from domain.ids import ChannelSku
from domain.outbound import (
    NoDelivery,
    OutboundOrder,
    OutboundState,
    OutboundStatus,
    Preview,
    Speed,
    SpeedPreview,
    Standing,
    StockMoved,
    Taken,
)
from domain.outbound_return import Announced, ReturnReason, ReturnWanted

NO_UNITS = "ItemQuantityNotAvailable"
NO_DELIVERY = "DeliverySLAUnavailable"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contents:
    """What makes an order the one that we sent: (line id, SKU, units), its speed, and whom it is for, as far as Amazon shows."""

    lines: frozenset[tuple[str, str, int]]
    speed: Speed | None
    destination: tuple[str, ...] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """An order that was read: its contents, and where it stands, None where Amazon has a word for that which we do not know."""

    contents: Contents
    state: OutboundState | None
    unclear: str = ""


class AmazonOutbound(ABC):
    """Satisfies `adapters.fulfillment.Outbound`; see there. One selling account."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def no_returns(self) -> str:
        """Empty: it announces them."""
        return ""

    @abstractmethod
    async def _preview(self, order: OutboundOrder, speeds: Sequence[Speed], ask: Ask) -> Preview: ...

    @abstractmethod
    async def _create(self, order: OutboundOrder, ask: Ask, before_send: BeforeSend) -> str | None:
        """Send it; Amazon's id of the call."""

    @abstractmethod
    async def _read(self, order_id: str, ask: Ask) -> Seen:
        """Raises NotFound."""

    @abstractmethod
    async def _cancel(self, order_id: str, ask: Ask, before_send: BeforeSend) -> str | None: ...

    @abstractmethod
    async def _page(self, since: datetime, token: str | None, ask: Ask) -> tuple[dict[str, Standing], str | None]:
        """One page of what changed, by our id, and the token of the next one."""

    @abstractmethod
    async def return_reasons(self, order_id: str, channel_sku: ChannelSku, ask: Ask) -> list[ReturnReason]: ...

    @abstractmethod
    async def announce_return(
        self, wanted: ReturnWanted, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Announced: ...

    async def _whereabouts(self, state: OutboundState, ask: Ask) -> OutboundState:
        """The parcels with where they are; they say so themselves unless a version needs more calls."""
        return state

    async def preview(self, order: OutboundOrder, speeds: Sequence[Speed], ask: Ask) -> Preview:
        """Source: getFulfillmentPreview, getOrderPreview."""
        with hiding(order.address):
            return await self._preview(order, speeds, ask)

    async def create(
        self,
        order: OutboundOrder,
        ask: Ask,
        before_send: BeforeSend,
        *,
        sent_before: bool = False,
        preview: Preview | None = None,
    ) -> Taken:
        """Source: createFulfillmentOrder, createOrder."""
        with hiding(order.address):
            if sent_before and (there := await self._there(order, ask)):
                return there
            try:
                request_id = await self._create(order, ask, before_send)
            except OutcomeUnknown as problem:
                if there := await self._there_after(problem, order, ask):
                    return there
                raise
            except Refused as problem:
                # It may be refused only because an earlier attempt was taken.
                if there := await self._there(order, ask):
                    return there
                if sent_before:
                    raise _doubtful(order, problem) from problem
                raise await self._reason(order, problem, preview, ask) from problem
            return Taken(order.id, upstream_request_id=request_id)

    async def track(self, order_id: str, ask: Ask) -> OutboundState:
        """Source: getFulfillmentOrder and getPackageTrackingDetails, getOrder of 2026-07-04."""
        seen = await self._read(order_id, ask)
        if seen.state is None:
            raise Transient(f"Amazon's outbound order {order_id} cannot be read: {seen.unclear}.")
        return await self._whereabouts(seen.state, ask)

    async def changed(self, since: datetime, ask: Ask, most_calls: int) -> Mapping[str, Standing] | None:
        """Source: listAllFulfillmentOrders, listOrders of 2026-07-04."""
        found: dict[str, Standing] = {}
        token: str | None = None
        for _ in range(most_calls):
            page, token = await self._page(since, token, ask)
            found |= page
            if not token:
                return found
        return None

    async def cancel(self, order_id: str, ask: Ask, before_send: BeforeSend) -> Taken:
        """Source: cancelFulfillmentOrder, cancelOrder. Asked again, it does no harm."""
        try:
            request_id = await self._cancel(order_id, ask, before_send)
        except OutcomeUnknown:
            state = await self._state_if_any(order_id, ask)
            if state is not None and state.status is OutboundStatus.CANCELLED:
                return Taken(order_id, state=state)
            raise
        except NotFound:
            raise
        except Refused as problem:
            state = await self._state_if_any(order_id, ask)
            # While it is only received, it is not for being late that Amazon refuses.
            if state is None or state.status is OutboundStatus.RECEIVED:
                raise
            if state.status is OutboundStatus.CANCELLED:
                return Taken(order_id, already=True, state=state)
            raise Refused(
                f"It is too late to cancel the outbound order {order_id}: it stands at {state.channel_status}.",
                upstream_request_id=problem.upstream_request_id,
                upstream_code=problem.upstream_code,
            ) from problem
        return Taken(order_id, upstream_request_id=request_id)

    async def _state_if_any(self, order_id: str, ask: Ask) -> OutboundState | None:
        try:
            return (await self._read(order_id, ask)).state
        except HouseError:
            return None

    async def _there(self, order: OutboundOrder, ask: Ask) -> Taken | None:
        """The order as Amazon has it, if it has it. Raises Conflict where its id stands for something else."""
        try:
            seen = await self._read(order.id, ask)
        except NotFound:
            return None
        if not _same(seen.contents, contents(order)):
            raise Conflict(f"Amazon has an outbound order {order.id} already, with other contents.", field=("id",))
        if seen.state is not None and seen.state.status is OutboundStatus.CANCELLED:
            raise Conflict(
                f"The outbound order {order.id} was canceled; what is to be shipped all the same needs an id of its own.",
                field=("id",),
            )
        return Taken(order.id, already=True, state=seen.state)

    async def _there_after(self, problem: OutcomeUnknown, order: OutboundOrder, ask: Ask) -> Taken | None:
        """The same after an answer was lost: where nothing can be read just now, the outcome stays unknown."""
        try:
            return await self._there(order, ask)
        except Conflict:
            raise
        except HouseError:
            raise problem from None

    async def _reason(self, order: OutboundOrder, problem: Refused, preview: Preview | None, ask: Ask) -> Refused:
        """Why an order was not taken: by the code, else by what a preview says now."""
        codes = {problem.upstream_code}
        if not codes & {NO_UNITS, NO_DELIVERY}:
            try:
                now = (await self._preview(order, (order.speed,), ask)).of(order.speed)
            except HouseError:
                return problem
            if now is None or now.possible:
                return problem
            codes |= {NO_UNITS} if now.shortfalls and NO_DELIVERY not in now.reasons else set(now.reasons)
        said: dict[str, Any] = {
            "upstream_request_id": problem.upstream_request_id,
            "upstream_code": problem.upstream_code,
        }
        if NO_UNITS in codes:
            before = preview.of(order.speed) if preview else None
            if preview is not None and before is not None and before.possible:
                return StockMoved(
                    f"FBA could ship the order {order.id} when it was previewed at {preview.as_of:%H:%M:%S} UTC; since then "
                    "units were sold. Preview it again.",
                    **said,
                )
            return Insufficient(f"FBA holds fewer units than the order {order.id} wants.", **said)
        if NO_DELIVERY in codes:
            return NoDelivery(
                f"Nobody brings the order {order.id} to its address at the speed {order.speed.value}; preview other speeds.",
                **said,
            )
        return problem


def _doubtful(order: OutboundOrder, problem: Refused) -> OutcomeUnknown:
    """A refusal now proves nothing about an earlier attempt: Amazon shows late what it took, and the units that are
    missing may be those that it took."""
    return OutcomeUnknown(
        f"Amazon does not take the order {order.id}, and does not show it either; an earlier attempt may have been taken. Look "
        f"in Seller Central under Multi-Channel Fulfillment before it is shipped from elsewhere. {problem.message}",
        upstream_request_id=problem.upstream_request_id,
        upstream_code=problem.upstream_code,
    )


def _same(theirs: Contents, ours: Contents) -> bool:
    return (
        theirs.lines == ours.lines
        and theirs.speed in (None, ours.speed)
        and theirs.destination in (None, ours.destination)
    )


def contents(order: OutboundOrder) -> Contents:
    """What must be the same when an id of ours is met again."""
    return Contents(
        frozenset((line.id, str(line.channel_sku), line.quantity) for line in order.lines),
        order.speed,
        destination(order.address.name, order.address.line1, order.address.postal_code, order.address.country),
    )


def destination(*parts: str) -> tuple[str, ...]:
    """An address to compare: Amazon writes it in capitals, and spaces its own way."""
    return tuple("".join(sign for sign in part.casefold() if sign.isalnum()) for part in parts)


def address_body(address: Address) -> dict[str, str]:
    """An address as both versions write it, without an email, which only one of them knows."""
    told = {
        "name": address.name,
        "addressLine1": address.line1,
        "addressLine2": address.line2,
        "addressLine3": address.line3,
        "city": address.city,
        "stateOrRegion": address.state,
        "postalCode": address.postal_code,
        "countryCode": address.country,
        "phone": address.phone,
    }
    return {name: value for name, value in told.items() if value}


def known(table: Mapping[str, T], word: str, what: str) -> T:
    """What a word of Amazon's means; case and underscores differ from place to place. Raises Unclear with the word."""
    found = table.get(word.replace("_", "").replace(" ", "").upper())
    if found is None:
        raise Unclear(f"{what}: {word!r} is not known")
    return found


def by_word(table: Mapping[str, T]) -> dict[str, T]:
    """A table to look in with `known`."""
    return {word.replace("_", "").upper(): value for word, value in table.items()}


def units(value: Decimal, unit: str | None) -> int:
    """Units out of a decimal amount such as 2.0. Raises Unclear for half ones, for fewer than none, and for other units."""
    if unit not in (None, "EACHES") or value != value.to_integral_value() or value < 0:
        raise Unclear(f"amount: {value} {unit} are no units")
    return int(value)


def spread(moments: Sequence[datetime | None], *, last: bool) -> datetime | None:
    """The earliest or the latest of those that there are."""
    there = [moment.astimezone(UTC) for moment in moments if moment]
    return (max(there) if last else min(there)) if there else None


def answered(speeds: Sequence[Speed], found: Mapping[Speed, SpeedPreview]) -> tuple[SpeedPreview, ...]:
    """One preview for each speed asked; one that Amazon leaves out is not offered."""
    return tuple(found.get(speed, SpeedPreview(speed, possible=False)) for speed in speeds)
