"""What Amazon notifies us of, and where to. Source: Notifications v1.

Destinations belong to the application and are reached without a seller's token; subscriptions are a seller's, one for each type
and version of its payload. Only ending one goes without the seller again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from adapters.amazon.client import Client
from adapters.notices import Finding
from adapters.wire import Wire
from domain.budget import Ask
from domain.errors import Conflict, Invalid, NotFound, Refused

SCOPE = "sellingpartnerapi::notifications"
PATH = "/notifications/v1"

VERSIONS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "ANY_OFFER_CHANGED",
            "B2B_ANY_OFFER_CHANGED",
            "FBA_INVENTORY_AVAILABILITY_CHANGES",
            "FBA_OUTBOUND_SHIPMENT_STATUS",
            "FULFILLMENT_ORDER_STATUS",
            "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
            "LISTINGS_ITEM_STATUS_CHANGE",
            "ORDER_CHANGE",
            "PRICING_HEALTH",
            "TRANSACTION_UPDATE",
        ),
        "1.0",
    ),
    "ACCOUNT_STATUS_CHANGED": "2021-01-01",
    "DATA_KIOSK_QUERY_PROCESSING_FINISHED": "2023-11-15",
    "FEED_PROCESSING_FINISHED": "2020-09-04",
    "LISTINGS_ITEM_ISSUES_CHANGE": "2023-12-13",
    "REPORT_PROCESSING_FINISHED": "2020-09-04",
}
"""The types that say something to us, with the version of the payload that we read."""
BUS_ONLY = ("LISTINGS_ITEM_ISSUES_CHANGE", "LISTINGS_ITEM_MFN_QUANTITY_CHANGE", "LISTINGS_ITEM_STATUS_CHANGE")
# Each offer that any competitor changes is told otherwise, many times a minute.
DIRECTIVES: Mapping[str, Mapping[str, Any]] = {
    "ANY_OFFER_CHANGED": {
        "eventFilter": {
            "eventFilterType": "ANY_OFFER_CHANGED",
            "aggregationSettings": {"aggregationTimePeriod": "FiveMinutes"},
        }
    }
}
# What competitors do to their offers changes nothing of ours: only who asks for it is told.
UNASKED = frozenset(VERSIONS) - {"ANY_OFFER_CHANGED", "B2B_ANY_OFFER_CHANGED"}


@dataclass(frozen=True, slots=True)
class Queue:
    """An SQS standard queue, by its ARN."""

    arn: str

    @property
    def specified(self) -> dict[str, Any]:
        """As Amazon wants it to be named."""
        return {"sqs": {"arn": self.arn}}


@dataclass(frozen=True, slots=True)
class Bus:
    """The EventBridge of an AWS account in a region."""

    account_id: str
    region: str

    @property
    def specified(self) -> dict[str, Any]:
        """As Amazon wants it to be named."""
        return {"eventBridge": {"accountId": self.account_id, "region": self.region}}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The notifications that a channel wants: `types`, to a queue those that Amazon sends to one, to a bus the others."""

    types: tuple[str, ...]
    queue: Queue | None = None
    bus: Bus | None = None

    def place(self, type: str) -> Queue | Bus | None:
        """Where a type goes; None for one that we have no place for."""
        return self.bus if type in BUS_ONLY else self.queue


def wanted(types: Sequence[str], queue: Queue | None, bus: Bus | None) -> Wanted:
    """Those of `types`, or all that we make use of, for which there is a place. Raises Invalid for a type that we do not know, or
    that its place is missing for."""
    for type in types:
        if type not in VERSIONS:
            raise Invalid(f"{type} is no notification that we make use of; there are {', '.join(sorted(VERSIONS))}.")
        if (bus if type in BUS_ONLY else queue) is None:
            place = "an event bus" if type in BUS_ONLY else "a queue"
            raise Invalid(f"{type} is sent to {place}, and none is set up.")
    made = Wanted(tuple(types) or tuple(sorted(UNASKED)), queue, bus)
    return Wanted(tuple(type for type in made.types if made.place(type) is not None), queue, bus)


def arn_of(queue_url: str) -> str:
    """The ARN of a queue at Amazon's own address, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME. Raises Invalid for another, and
    for a FIFO queue, to which Amazon sends nothing."""
    parts = urlsplit(queue_url)
    host, path = (parts.hostname or "").split("."), parts.path.strip("/").split("/")
    if len(host) < 3 or host[0] != "sqs" or "amazonaws" not in host or len(path) != 2 or not all(path):
        raise Invalid(
            "The address of a queue is https://sqs.REGION.amazonaws.com/ACCOUNT/NAME; for another, name its ARN."
        )
    if path[1].endswith(".fifo"):
        raise Invalid("Amazon sends notifications to standard queues only, and this is a FIFO queue.")
    return f"arn:aws:sqs:{host[1]}:{path[0]}:{path[1]}"


class Sqs(Wire):
    """A queue."""

    arn: str


class EventBridge(Wire):
    """A bus."""

    account_id: str
    region: str


class Resource(Wire):
    """One of both."""

    sqs: Sqs | None = None
    event_bridge: EventBridge | None = None


class Destination(Wire):
    """Where notifications go."""

    destination_id: str
    name: str
    resource: Resource

    def at(self, place: Queue | Bus) -> bool:
        """Whether it is this queue or bus."""
        if isinstance(place, Queue):
            return self.resource.sqs is not None and self.resource.sqs.arn == place.arn
        bus = self.resource.event_bridge
        return bus is not None and (bus.account_id, bus.region) == (place.account_id, place.region)


class Destinations(Wire):
    """All of the application's."""

    payload: list[Destination]


class OneDestination(Wire):
    """The one that was made."""

    payload: Destination


class Subscription(Wire):
    """One type of notification for one seller."""

    subscription_id: str
    payload_version: str
    destination_id: str
    processing_directive: dict[str, Any] | None = None


class OneSubscription(Wire):
    """The one that there is, or that was made."""

    payload: Subscription


class Nothing(Wire):
    """An answer that says nothing."""


async def go() -> None:
    """What is sent here may be sent again: it is read back, and two never become of it."""


@dataclass(slots=True)
class Desk:
    """The subscriptions of one selling account, as they are wanted."""

    client: Client
    wanted: Wanted
    _places: dict[Queue | Bus, str] = field(default_factory=dict)

    async def wrong(self, ask: Ask) -> list[str]:
        """What is not as wanted, in words for people; nothing is changed."""
        return [f"{one.what}: {one.wrong}" for one in await self.ensure(ask, apply=False) if one.wrong is not None]

    async def ensure(self, ask: Ask, *, apply: bool) -> list[Finding]:
        """Look at each destination and subscription, and with `apply` make what is missing and end what points elsewhere.

        Others are left alone. Raises what Amazon refuses otherwise.
        """
        places = dict.fromkeys(place for type in self.wanted.types if (place := self.wanted.place(type)) is not None)
        there = await self._destinations(ask)
        self._places = {place: one.destination_id for place in places for one in there if one.at(place)}
        findings = []
        for place in places:
            what = f"destination {place.arn if isinstance(place, Queue) else f'{place.account_id}/{place.region}'}"
            found = place in self._places
            if not found and apply:
                self._places[place] = await self._make(place, ask)
            findings.append(Finding(what, None if found else "there is none", mended=not found and apply))
        for type in self.wanted.types:
            findings.append(await self._subscribe(type, ask, apply=apply))
        return findings

    async def _destinations(self, ask: Ask) -> list[Destination]:
        path = f"{PATH}/destinations"
        return (await self.client.get("getDestinations", path, {}, ask, Destinations, scope=SCOPE)).payload

    async def _make(self, place: Queue | Bus, ask: Ask) -> str:
        """The id of the destination, made now or by somebody else a moment ago."""
        body = {
            "name": "acorn-queue" if isinstance(place, Queue) else "acorn-bus",
            "resourceSpecification": place.specified,
        }
        path = f"{PATH}/destinations"
        try:
            made, _ = await self.client.change(
                "createDestination", "POST", path, ask, go, OneDestination, body=body, scope=SCOPE
            )
        except Conflict:
            there = [one for one in await self._destinations(ask) if one.at(place)]
            if not there:
                raise
            return there[0].destination_id
        return made.payload.destination_id

    async def _subscribe(self, type: str, ask: Ask, *, apply: bool) -> Finding:
        there = await self._there(type, ask)
        wrong = self._fault(type, there)
        if wrong is None or not apply:
            return Finding(type, wrong)
        if there is not None:
            await self._end(type, there, ask)
        try:
            await self._create(type, ask)
        except Conflict:
            # Somebody else was faster: as good, if it is what we want.
            if self._fault(type, await self._there(type, ask)) is not None:
                raise
        return Finding(type, wrong, mended=True)

    def _fault(self, type: str, there: Subscription | None) -> str | None:
        place = self.wanted.place(type)
        assert place is not None
        if there is None:
            return "it is not subscribed"
        if there.destination_id != self._places.get(place):
            return "it goes somewhere else"
        if _plain(there.processing_directive) != _plain(DIRECTIVES.get(type)):
            return "it is filtered or aggregated otherwise"
        return None

    async def _there(self, type: str, ask: Ask) -> Subscription | None:
        """The seller's subscription to the version that we read."""
        path = f"{PATH}/subscriptions/{quote(type, safe='')}"
        query = {"payloadVersion": VERSIONS[type]}
        try:
            return (await self.client.get("getSubscription", path, query, ask, OneSubscription)).payload
        except NotFound:
            return None

    async def _create(self, type: str, ask: Ask) -> None:
        place = self.wanted.place(type)
        assert place is not None
        body: dict[str, Any] = {"payloadVersion": VERSIONS[type], "destinationId": self._places[place]}
        if type in DIRECTIVES:
            body["processingDirective"] = DIRECTIVES[type]
        path = f"{PATH}/subscriptions/{quote(type, safe='')}"
        try:
            await self.client.change("createSubscription", "POST", path, ask, go, OneSubscription, body=body)
        except Conflict:
            raise
        except Refused as problem:
            raise Refused(f"{type} cannot be subscribed: {problem.message}") from problem

    async def _end(self, type: str, there: Subscription, ask: Ask) -> None:
        id = quote(there.subscription_id, safe="")
        path = f"{PATH}/subscriptions/{quote(type, safe='')}/{id}"
        try:
            await self.client.change("deleteSubscriptionById", "DELETE", path, ask, go, Nothing, scope=SCOPE)
        except NotFound:
            return


def _plain(directive: Mapping[str, Any] | None) -> dict[str, Any]:
    """Without what stands there for nothing: Amazon gives absent members back as null or empty."""
    kept = {name: _plain(one) if isinstance(one, Mapping) else one for name, one in (directive or {}).items()}
    return {name: one for name, one in kept.items() if one not in (None, {}, [], "")}
