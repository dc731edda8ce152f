"""Where consents and secrets are kept that change while we run, and what was found to be refused."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from domain.grant import Kept
from domain.ids import ChannelId


class Vault(Protocol):
    """Shared by all processes; see store.grant.Grants."""

    async def kept(self, channel: ChannelId, client_id: str) -> Kept:
        """What is kept of the account and of its application. Raises Transient, and Unauthorized for what cannot be opened."""
        ...

    async def fresh(self, channel: ChannelId, client_id: str) -> Kept:
        """As `kept`, read now and by nobody's memory. Raises Transient where it cannot be read."""
        ...

    def forget(self, channel: ChannelId) -> None:
        """Read anew at the next question: what was read seems to be old."""
        ...

    async def renew(
        self, channel: ChannelId, account: str, used: str, new: str, *, lives: timedelta | None = None
    ) -> bool:
        """Keep the refresh token that the platform gave in place of the one `used`; False when another consent came meanwhile.

        `lives` says that each new one has a life of its own, from now on, and that the ones before it are kept as `older`: which
        of them the platform takes is its own to know. Raises HouseError where it cannot be kept.
        """
        ...

    async def bar(self, channel: ChannelId, operation: str, reason: str, for_s: float) -> bool:
        """Let nobody try `operation` for so long, since its role is missing; True when it was not known to be. Never raises.

        What hinders the channel and is no operation, such as a scope, has its own name here.
        """
        ...

    async def clear(self, channel: ChannelId, operation: str) -> None:
        """The operation was carried out: its role is there. Never raises: what was carried out is worth more."""
        ...


class OwnMemory:
    """A vault of one process that nothing was put into: all stands in the configuration."""

    def __init__(self) -> None:
        self._kept: dict[ChannelId, Kept] = {}
        self._barred: dict[tuple[ChannelId, str], tuple[str, float]] = {}

    async def kept(self, channel: ChannelId, client_id: str) -> Kept:
        """What this process has met."""
        mine = {operation: told for (one, operation), told in self._barred.items() if one == channel}
        now = time.monotonic()
        barred = {operation: reason for operation, (reason, until) in mine.items() if until > now}
        return replace(self._kept.get(channel, Kept()), barred=barred, lacking=frozenset(mine))

    async def fresh(self, channel: ChannelId, client_id: str) -> Kept:
        """Likewise."""
        return await self.kept(channel, client_id)

    def forget(self, channel: ChannelId) -> None:
        """Nobody else changes anything here."""

    async def renew(
        self, channel: ChannelId, account: str, used: str, new: str, *, lives: timedelta | None = None
    ) -> bool:
        """Good for as long as this process lives."""
        self._kept[channel] = Kept(new)
        return True

    async def bar(self, channel: ChannelId, operation: str, reason: str, for_s: float) -> bool:
        """Likewise."""
        new = (channel, operation) not in self._barred
        self._barred[channel, operation] = reason, time.monotonic() + for_s
        return new

    async def clear(self, channel: ChannelId, operation: str) -> None:
        """Likewise."""
        self._barred.pop((channel, operation), None)
