"""What a shop offers: the parts of the contract that it has, its limits, and what our token may do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from pydantic import Field

from adapters.rest.client import Operation, RestClient, answered
from adapters.rest.errors import NOT_OFFERED
from adapters.rest.operations import GET_SHOP
from adapters.rest.wire import Body
from domain.budget import Ask
from domain.errors import HouseError, NotFound, Refused, Unauthorized

# What was read is believed for so long; a shop gains a part when it is deployed, not while it answers.
BELIEVED_S = 900.0
AGAIN_S = 30.0  # where it does not answer

CONTRACT = "1.0"

# What each part is for, and the scopes that it takes of us: for whoever is told that it is missing.
PARTS = {
    "products": ("its listings are not read", ("catalog:read",)),
    "prices": ("its prices cannot be set", ("catalog:write",)),
    "stock": ("its stock is not read", ("stock:read",)),
    "stock_write": ("it cannot be told what it may sell", ("stock:write",)),
    "orders": ("its orders are not read", ("orders:read",)),
    "shipments": ("parcels cannot be confirmed to it", ("orders:write",)),
    "cancel": ("its orders cannot be canceled from here", ("orders:write",)),
    "refunds": ("nothing can be refunded from here", ("orders:write",)),
    "payouts": ("its payouts are not read", ("finance:read",)),
    "webhooks": ("it tells nothing by itself, so everything is known a little later", ("webhooks:write",)),
}


class _Limits(Body):
    page: int = Field(ge=1)
    bulk: int = Field(ge=1)


class Shop(Body):
    """The answer of `GET /`."""

    contract: str
    name: str
    currency: str
    parts: frozenset[str]
    limits: _Limits
    scopes: frozenset[str]

    @property
    def lacking(self) -> dict[str, str]:
        """Parts of `PARTS` that cannot be used, and why, in words for people."""
        found = {}
        for part, (without, scopes) in PARTS.items():
            missing = [scope for scope in scopes if scope not in self.scopes]
            if part not in self.parts:
                found[part] = f"The shop does not offer `{part}`: {without}."
            elif missing:
                found[part] = f"The token lacks the scope {missing[0]} for `{part}`: {without}."
        return found


@dataclass(slots=True)
class Offers:
    """What the shop said last, asked anew every quarter of an hour. One caller asks, the others wait for it."""

    client: RestClient
    _shop: Shop | None = None
    _until: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def shop(self, ask: Ask) -> Shop:
        """What it offers. Where it does not answer, what it said last stays true."""
        if self._shop is not None and time.monotonic() < self._until:
            return self._shop
        async with self._asking:
            if self._shop is not None and time.monotonic() < self._until:
                return self._shop
            try:
                return await self.anew(ask)
            except Unauthorized:
                raise
            except HouseError:
                if self._shop is None:
                    raise
                self._until = time.monotonic() + AGAIN_S
                return self._shop

    async def anew(self, ask: Ask) -> Shop:
        """Ask now. Raises Refused for a shop of another contract, and where there is none."""
        try:
            reply = await self.client.call(GET_SHOP, ask)
        except NotFound as problem:
            home = self.client.config.home
            words = f"There is no shop at {home}: `url` names the root of its API, where it says what it offers."
            raise Refused(words, upstream_request_id=problem.upstream_request_id) from problem
        shop = answered(Shop, reply)
        if shop.contract.partition(".")[0] != CONTRACT.partition(".")[0]:
            raise Refused(
                f"{self.client.config.shop} speaks version {shop.contract} of the contract; this gateway speaks {CONTRACT}."
            )
        self._shop, self._until = shop, time.monotonic() + BELIEVED_S
        return shop

    async def need(self, operation: Operation, ask: Ask) -> Shop:
        """What the shop offers, the part of `operation` among it. Raises Refused, naming the part, and nothing was called."""
        shop = await self.shop(ask)
        if operation.part and operation.part not in shop.parts:
            without = PARTS[operation.part][0]
            raise Refused(
                f"{self.client.config.shop} does not offer `{operation.part}`: {without}.", upstream_code=NOT_OFFERED
            )
        return shop
