"""What the tests of every shop's adapter stand on: a sandbox's control plane and journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from domain.channel import Location
from domain.ids import ChannelId


class NeverUsed:
    """No bucket was ever used."""

    async def last_use(self, channel: ChannelId, operation: str) -> datetime | None:
        return None

    async def note_use(self, channel: ChannelId, operation: str) -> None:
        return None


@dataclass
class Sandbox:
    """The sandbox's control plane, and what is in its world."""

    url: str
    http: httpx.AsyncClient
    locations: list[Location] = field(default_factory=list)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.http.get(f"/_sandbox/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"/_sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def journal(self) -> Journal:
        return Journal(self, (await self.get("journal"))["next"])

    async def faults(self, *rules: Mapping[str, Any]) -> None:
        await self.post("faults", faults=list(rules))


@dataclass
class Journal:
    """The sandbox's journal from one point on."""

    sandbox: Sandbox
    since: int

    async def calls(self) -> list[str]:
        told = await self.sandbox.get("journal", since=self.since)
        return [call["operation"] for call in told["calls"]]

    async def effects(self) -> list[dict[str, Any]]:
        told = await self.sandbox.get("journal", since=self.since)
        return [effect for effect in told["effects"] if effect["operation"] != "state"]
