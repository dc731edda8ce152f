"""An Amazon port on a real Redis, in front of answers written in the test or of the sandbox."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import httpx
from redis.asyncio import Redis

from adapters.amazon.config import AmazonConfig
from adapters.amazon.platform import AmazonPort
from adapters.budget import Budgets
from adapters.port import Parcel, Port
from adapters.tokens import TokenStore
from adapters.transport import Transport
from adapters.vault import Vault
from domain.channel import Channel, Location, LocationKind, Platform
from domain.ids import ChannelId, LocationCode

MARKETPLACES = {"na": ("US",), "eu": ("DE", "FR"), "fe": ("JP",)}
IDS = {"US": "ATVPDKIKX0DER", "DE": "A1PA6795UKMFR9", "FR": "A13V1IB3VIYZZH", "JP": "A1VC38T7YXB528"}


class Uses:
    """The memory of last uses, in a dict."""

    def __init__(self) -> None:
        self.at: dict[tuple[ChannelId, str], datetime] = {}

    async def last_use(self, channel: ChannelId, operation: str) -> datetime | None:
        return self.at.get((channel, operation))

    async def note_use(self, channel: ChannelId, operation: str) -> None:
        self.at[channel, operation] = datetime.now(UTC)


def make_config(region: str = "na", endpoint: str | None = "https://amazon.test", **changes: Any) -> AmazonConfig:
    """The sandbox's account of a region, as a channel that no other test knows."""
    values: dict[str, Any] = {
        "channel": Channel(
            id=ChannelId(f"amazon-{uuid4().hex[:12]}"),
            platform=Platform.AMAZON,
            name="Amazon",
            sandbox=True,
            marketplaces=MARKETPLACES[region],
        ),
        "region": region,
        "seller_id": f"A1SANDBOX{region.upper()}",
        "client_id": "amzn1.application-oa2-client.sandbox",
        "client_secret": "sandbox-secret",
        "refresh_token": f"Atzr|sandbox-{region}",
        "endpoint": endpoint,
    }
    return AmazonConfig(**(values | changes))


def make_pool(config: AmazonConfig, code: str | None = None) -> Location:
    """The FBA pool of the account, asked through its first marketplace."""
    first = code or config.channel.marketplaces[0]
    return Location(
        code=LocationCode(f"fba-{first.lower()}"),
        name=f"FBA {first}",
        kind=LocationKind.FBA,
        keeper=config.channel.id,
        external_id=first,
        marketplaces=config.channel.marketplaces,
    )


def make_parcel(*lines: tuple[str, int], reference: str = "701", **changes: Any) -> Parcel:
    values: dict[str, Any] = {
        "reference": reference,
        "carrier": "DHL",
        "tracking_number": "00340434161094021501",
        "shipped_at": datetime.now(UTC),
        "lines": lines,
    }
    return Parcel(**(values | changes))


async def go() -> None:
    """A `before_send` that has no objection."""


@dataclass(slots=True)
class Line:
    """The wire: token requests are answered by themselves, all others from `answers`, in order; the last one stays."""

    answers: deque[httpx.Response | Callable[[httpx.Request], httpx.Response] | Exception] = field(
        default_factory=deque
    )
    login: Callable[[int], httpx.Response] = lambda number: httpx.Response(
        200, json={"access_token": f"Atza|{number}", "token_type": "bearer", "expires_in": 3600}
    )
    calls: list[httpx.Request] = field(default_factory=list)
    logins: list[dict[str, list[str]]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/o2/token":
            self.logins.append(parse_qs(request.content.decode(), strict_parsing=True))
            return self.login(len(self.logins))
        self.calls.append(request)
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)


@dataclass(slots=True)
class Desk:
    """A port with all it stands on."""

    config: AmazonConfig
    port: Port
    transport: Transport
    tokens: TokenStore
    budgets: Budgets
    uses: Uses

    @property
    def channel(self) -> ChannelId:
        return self.config.channel.id

    async def state(self, operation: str) -> tuple[float, float, int]:
        """(rate, tokens left, times that Amazon said 429) of a bucket."""
        state = (await self.budgets.states([(self.channel, self.port.plans[operation])]))[0]
        return state.rate, state.remaining, state.throttled

    async def close(self) -> None:
        await self.budgets.settle()
        await self.tokens.settle()
        await self.transport.close()


def make_desk(
    redis: Redis,
    config: AmazonConfig,
    wire: httpx.AsyncBaseTransport | None = None,
    *,
    transport: Transport | None = None,
    vault: Vault | None = None,
) -> Desk:
    uses = Uses()
    transport, tokens, budgets = transport or Transport(wire=wire), TokenStore(redis), Budgets(redis, uses)
    return Desk(config, AmazonPort(config, transport, tokens, budgets, vault), transport, tokens, budgets, uses)


class Sandbox:
    """The Amazon sandbox as a process of its own."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "amazon", "--port", "0", *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        self.url = told.split()[-1].rstrip("/")
        self.http = httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30)

    async def get(self, path: str, **query: int) -> Any:
        response = await self.http.get(f"/_sandbox/{path}", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        response = await self.http.post(f"/_sandbox/{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def mark(self) -> int:
        """The place in the journal where we stand."""
        return int((await self.get("journal"))["next"])

    async def calls(self, since: int, operation: str | None = None) -> list[dict[str, Any]]:
        """The calls after a place in the journal; without those for tokens."""
        calls = (await self.get("journal", since=since))["calls"]
        return [call for call in calls if operation in (call["operation"], None) and call["operation"] != "getToken"]

    async def effects(self, since: int) -> list[dict[str, Any]]:
        return list((await self.get("journal", since=since))["effects"])

    async def generous(self, *operations: str) -> None:
        """Lift the usage plans of operations; the answers tell it to the port."""
        await self.post("plans", {operation: {"rate": 1000, "burst": 1000} for operation in operations})

    async def close(self) -> None:
        await self.http.aclose()
        self.process.terminate()
        self.process.wait(timeout=60)
        if self.process.stdout is not None:
            self.process.stdout.close()
