"""What an account has granted us, as far as it is kept beside the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from domain.ids import ChannelId


class Source(Enum):
    """How a token came to us: by the consent page, pasted by somebody, or in an answer of the platform's login."""

    CONSENT = "CONSENT"
    PASTED = "PASTED"
    RENEWED = "RENEWED"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one account; it goes before what the configuration says.

    `refresh_token` is what the account's consent has given, also where that is an access token that lasts; `older` are those
    before it, newest first, at a platform that changes them at each use. `secrets` are the application's that have not run out,
    newest first. `barred` are the operations that the platform refused a moment ago for want of a role, and why; `lacking` are
    all that it refused last.
    """

    refresh_token: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    barred: Mapping[str, str] = field(default_factory=dict)
    lacking: frozenset[str] = frozenset()
    older: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class GrantState:
    """A kept consent as it may be shown. `expires_at` is None where the platform tells no end."""

    channel: ChannelId
    source: Source
    granted_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lack:
    """An operation that is refused for want of a role, since when, and in which words."""

    channel: ChannelId
    operation: str
    reason: str
    since: datetime
