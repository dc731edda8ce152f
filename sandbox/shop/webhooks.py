"""Events on their way out, signed as Standard Webhooks says: at least once, in no order. How late, how often and whether
at all can be ordered."""

import asyncio
import base64
import hmac
import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from sandbox.control import Core
from sandbox.journal import iso

EVENTS = (
    "product.created",
    "product.updated",
    "product.deleted",
    "stock.updated",
    "order.created",
    "order.updated",
    "order.cancelled",
    "order.shipped",
    "refund.created",
    "payout.paid",
    "job.finished",
    "ping",
)
WAITS_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
_LOOK_S = 0.02
_AT_ONCE = 16
_TIMEOUT_S = 15


@dataclass(slots=True)
class Endpoint:
    id: str
    client: str
    url: str
    events: tuple[str, ...]
    secret: str
    created_at: datetime
    enabled: bool = True


@dataclass(slots=True)
class Delivery:
    """One event for one endpoint; `due` is an instant of the sandbox clock, None when it is done or given up."""

    id: str
    endpoint: Endpoint
    event_id: str
    type: str
    body: bytes
    created_at: datetime
    updated_at: datetime
    due: datetime | None
    state: str = "pending"
    attempts: int = 0
    last_status: int | None = None


@dataclass(slots=True)
class Travel:
    """How deliveries travel: lost with probability `lost`, else sent `copies` times, up to `delay_s` sandbox seconds late; what
    is due at once is mixed where `shuffle`. `forge` signs with a wrong secret, `age_s` dates them back."""

    lost: float = 0.0
    copies: int = 1
    delay_s: float = 0.0
    shuffle: bool = False
    forge: bool = False
    age_s: float = 0.0


def sign(secret: str, id: str, timestamp: str, body: bytes) -> str:
    """One entry of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, text, "sha256")).decode()


class Webhooks:
    """The endpoints, and what they are told."""

    def __init__(self, core: Core, broken: frozenset[str]) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.travel = Travel()
        self._core = core
        self._broken = broken
        self._dice = random.Random(f"webhooks:{core.options.seed}")
        self._number = 0
        self._pump: asyncio.Task[None] | None = None

    def open(self, client: str, url: str, events: tuple[str, ...]) -> Endpoint:
        """A new endpoint, with a secret of its own."""
        self._number += 1
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        endpoint = Endpoint(f"whe_{self._number}", client, url, events, secret, self._core.clock.now())
        self.endpoints[endpoint.id] = endpoint
        return endpoint

    def close(self, endpoint: Endpoint) -> None:
        """Nothing reaches it any more."""
        del self.endpoints[endpoint.id]
        self.deliveries = {id: one for id, one in self.deliveries.items() if one.endpoint is not endpoint}

    def tell(self, type: str, at: datetime, data: Mapping[str, str]) -> None:
        """An event, to every endpoint that wants it."""
        for endpoint in self.endpoints.values():
            if endpoint.enabled and type in endpoint.events:
                if self._dice.random() < self.travel.lost:
                    continue
                self.send(endpoint, type, at, data, copies=self.travel.copies)

    def send(self, endpoint: Endpoint, type: str, at: datetime, data: Mapping[str, str], copies: int = 1) -> Delivery:
        """An event to one endpoint; the first of its copies."""
        if type == "stock.updated" and "webhooks.event" in self._broken:
            copies = 0
        body = json.dumps({"type": type, "timestamp": iso(at), "data": dict(data)}, separators=(",", ":")).encode()
        self._number += 1
        event = f"msg_{self._number}"
        made = [self._copy(endpoint, event, type, body) for _ in range(max(1, copies))]
        if copies:
            self.deliveries |= {one.id: one for one in made}
            self._wake()
        return made[0]

    def again(self, delivery: Delivery) -> None:
        """The same event once more."""
        delivery.state, delivery.due = "pending", self._core.clock.now()
        delivery.updated_at = self._core.clock.now()
        self._wake()

    def page(self, endpoint: Endpoint) -> list[Delivery]:
        """What an endpoint was told, the oldest change first."""
        mine = [one for one in self.deliveries.values() if one.endpoint is endpoint]
        return sorted(mine, key=lambda one: (one.updated_at, one.id))

    @property
    def pending(self) -> int:
        """Deliveries that are not done and not given up."""
        return sum(one.due is not None for one in self.deliveries.values())

    def _copy(self, endpoint: Endpoint, event: str, type: str, body: bytes) -> Delivery:
        self._number += 1
        now = self._core.clock.now()
        due = now + timedelta(seconds=self._dice.uniform(0, self.travel.delay_s))
        return Delivery(f"dlv_{self._number}", endpoint, event, type, body, now, now, due)

    def _wake(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Send what is due until nothing waits. No task is left behind: deliveries that wait long are looked at here."""
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S, follow_redirects=False) as client:
            while self.pending:
                now = self._core.clock.now()
                due = [one for one in self.deliveries.values() if one.due is not None and one.due <= now]
                due.sort(key=lambda one: one.due or now)
                if self.travel.shuffle:
                    self._dice.shuffle(due)
                if due:
                    await asyncio.gather(*(self._attempt(client, one) for one in due[:_AT_ONCE]))
                else:
                    await asyncio.sleep(_LOOK_S)
            self._pump = None  # it only hangs up now: who comes meanwhile starts another

    async def _attempt(self, client: httpx.AsyncClient, one: Delivery) -> None:
        one.attempts += 1
        retry_after = 0
        try:
            answer = await client.post(one.endpoint.url, content=one.body, headers=self._headers(one))
            one.last_status = answer.status_code
            told = answer.headers.get("retry-after", "")
            retry_after = int(told) if told.isascii() and told.isdigit() else 0
        except httpx.HTTPError:
            one.last_status = None
        now = one.updated_at = self._core.clock.now()
        if one.last_status is not None and 200 <= one.last_status < 300:
            one.state, one.due = "delivered", None
            return
        if (one.last_status == 410 and "webhooks.gone" not in self._broken) or one.attempts > len(WAITS_S):
            self._end(one)
        else:
            one.due = now + timedelta(seconds=max(WAITS_S[one.attempts - 1], retry_after))

    def _end(self, one: Delivery) -> None:
        """The endpoint is told nothing any more."""
        one.endpoint.enabled = False
        for other in self.deliveries.values():
            if other.endpoint is one.endpoint and other.due is not None:
                other.state, other.due = "failed", None

    def _headers(self, one: Delivery) -> dict[str, str]:
        event = f"{one.event_id}.{one.attempts}" if "webhooks.retried" in self._broken else one.event_id
        timestamp = str(int(self._core.clock.now().timestamp() - self.travel.age_s))
        secret = "whsec_" + "A" * 32 if self.travel.forge else one.endpoint.secret
        headers = {"content-type": "application/json", "webhook-id": event, "webhook-timestamp": timestamp}
        if "webhooks.signed" not in self._broken:
            headers["webhook-signature"] = sign(secret, event, timestamp, one.body)
        return headers
