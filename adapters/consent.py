"""The consent of an account: where it is asked for, what comes back, and what is kept of it. One for each platform that asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from domain.channel import Channel

# A query as it came, its names in order, decoded.
Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Consented:
    """What a consent has given: the token to keep, and how long it lives where it ends by itself. `but` tells people what was not
    granted; empty when all was."""

    token: str = field(repr=False)
    life: timedelta | None = None
    but: str = ""


class Consent(Protocol):
    """What the roof needs to ask one account for its consent.

    `service` is what people call the platform, `account` what the platform calls the account, `configured` whether a token stands
    in the configuration, `again` the command that asks anew. `warn` is how long before its end people are told.
    """

    channel: Channel
    service: str
    account: str
    client_id: str
    redirect_uri: str | None
    configured: bool
    again: str
    warn: timedelta

    def url(self, state: str) -> str:
        """The page at which the account consents. Raises Invalid where the channel does not say enough for it."""
        ...

    def code(self, query: Query, at: datetime) -> str:
        """What came back at the instant `at`, checked by the platform's own rule; the code in it.

        Raises Invalid for no consent at all, Forbidden for one that the platform has not signed or that is too old, and Conflict
        for that of another account.
        """
        ...

    async def exchange(self, code: str) -> Consented:
        """What to keep for a code that came back. Raises Unauthorized and Transient."""
        ...

    async def prove(self, token: str) -> Consented:
        """What to keep for a token that somebody has typed: itself, or what the platform gives in its place.

        Raises Unauthorized and Transient.
        """
        ...


@runtime_checkable
class Scoped(Protocol):
    """A port whose account grants each right by itself and may take it back. `needs` are ours, and what goes without each.

    Its `check` costs little, and keeps what is missing among what hinders the channel.
    """

    needs: Mapping[str, str]
