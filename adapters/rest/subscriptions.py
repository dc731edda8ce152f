"""What a shop tells us of, and where to. Sources: listEndpoints, createEndpoint, deleteEndpoint.

An endpoint is made and taken away, never changed, and its secret is shown where it is made and never again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.notices import Finding
from adapters.rest.client import RestClient, answered
from adapters.rest.offers import Offers
from adapters.rest.operations import CREATE_ENDPOINT, DELETE_ENDPOINT, LIST_ENDPOINTS
from adapters.rest.webhooks import EVENTS
from adapters.rest.wire import Body
from domain.budget import Ask
from domain.errors import NotFound


class _Endpoint(Body):
    id: str
    url: str
    events: list[str]
    enabled: bool


class _Endpoints(Body):
    data: list[_Endpoint]


class _Made(Body):
    secret: str


@dataclass(slots=True)
class Desk:
    """The endpoint of one shop that stands for us, at `url`; `provable` says that we hold the secret that signs what it tells."""

    client: RestClient
    offers: Offers
    url: str
    provable: bool

    async def wrong(self, ask: Ask) -> list[str]:
        """What is not as wanted. Nothing is made anew by itself: the new secret would be shown to nobody."""
        return [f"{one.what}: {one.wrong}" for one in await self.ensure(ask, apply=False) if one.wrong]

    async def ensure(self, ask: Ask, *, apply: bool) -> list[Finding]:
        """How it stands; with `apply`, one is made where none is as wanted, and those of ours that are not are taken away before.
        What was made says its secret: it belongs into the configuration. One whose secret we do not hold, since it was lost or is
        to be another, is made anew. Endpoints of others are left alone."""
        await self.offers.need(LIST_ENDPOINTS, ask)
        listed = answered(_Endpoints, await self.client.call(LIST_ENDPOINTS, ask)).data
        ours = [one for one in listed if one.url == self.url]
        faults = {one.id: self._fault(one) for one in ours}
        if None in faults.values():
            return [Finding(self.url)]
        wrong = next(iter(faults.values()), "it is not subscribed")
        if not apply:
            return [Finding(self.url, wrong)]
        await self._remove(ours, ask)
        body = {"url": self.url, "events": list(EVENTS)}
        made = answered(_Made, await self.client.call(CREATE_ENDPOINT, ask, body=body), write=True)
        told = f"{self.url} (its secret, shown this once: {made.secret}; put it into `webhook_secret`)"
        return [Finding(told, wrong, mended=True)]

    async def _remove(self, endpoints: Sequence[_Endpoint], ask: Ask) -> None:
        for one in endpoints:
            try:
                await self.client.call(DELETE_ENDPOINT, ask, at={"id": one.id})
            except NotFound:
                continue

    def _fault(self, one: _Endpoint) -> str | None:
        if not one.enabled:
            return "the shop has given it up"
        if missing := [event for event in EVENTS if event not in one.events]:
            return f"it is not told of {', '.join(missing)}"
        if not self.provable:
            return "its secret is not in `webhook_secret`; put it there, or have it made anew with another"
        return None
