"""The one tree of errors, named by what to do next.

    HouseError
    ├── Throttled        wait for the slot (`retry_after_s`); costs no attempt
    ├── Transient        try again, bounded; nothing was changed
    ├── OutcomeUnknown   a write may or may not have happened: read back first, never resend blind
    ├── Unauthorized     pause the channel's work and tell someone
    │   └── MissingRole     pause only what needs the role; the rest of the channel goes on
    ├── TooStale         nothing young enough could be had, and the caller wanted no older answer
    ├── Exhausted        the caller's own budget cannot pay for it: ask for less, or in the next minute
    └── Refused          fail this item, never retry
        ├── NotFound
        ├── Conflict
        │   ├── Insufficient   fewer units can be sold than were asked for
        │   └── OtherNumber    the channel shows another number than the one we wanted to replace
        ├── Invalid
        └── Forbidden    the caller lacks a scope

Adapters turn the world into this tree at one edge, the schema turns it into user errors and codes at the other. In between
nobody catches what they cannot answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class HouseError(Exception):
    """A failure we know how to answer. `code` reaches clients as `extensions.code`; the message is written for people."""

    code: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str, *, upstream_request_id: str | None = None, upstream_code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.upstream_request_id = upstream_request_id
        self.upstream_code = upstream_code

    @property
    def words(self) -> str:
        """What people are told: our words, and the platform's own code behind them."""
        return self.message if self.upstream_code is None else f"{self.message} ({self.upstream_code})"


class Throttled(HouseError):
    """The budget has no slot in time, or the platform said 429. `retry_after_s` is in seconds from now."""

    code = "THROTTLED"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float,
        upstream_request_id: str | None = None,
        upstream_code: str | None = None,
    ) -> None:
        super().__init__(message, upstream_request_id=upstream_request_id, upstream_code=upstream_code)
        self.retry_after_s = retry_after_s


class Transient(HouseError):
    """The platform or the network failed and nothing was changed; the same call may succeed later."""

    code = "UPSTREAM_UNAVAILABLE"


class OutcomeUnknown(HouseError):
    """A write left the house and its answer was lost or unreadable."""

    code = "OUTCOME_UNKNOWN"


class Unauthorized(HouseError):
    """The platform refuses our credentials: expired consent, wrong secret, missing role."""

    code = "CHANNEL_UNAUTHORIZED"
    pauses: ClassVar[bool] = True
    """Whether all work of the channel has to wait for somebody to mend it."""


class MissingRole(Unauthorized):
    """The platform takes our credentials and refuses this one operation: what needs it waits, all else goes on."""

    pauses = False


class TooStale(HouseError):
    """The caller asked for `onStale: FAIL` and nothing young enough could be had."""

    code = "TOO_STALE"


class Exhausted(HouseError):
    """The caller's budget of a minute cannot pay for it: `cost` of `unit` were asked for, and `left` are left of `limit`.

    `retry_after_s` are the seconds to the next minute; None where no minute has as much.
    """

    code = "BUDGET_EXHAUSTED"

    def __init__(self, unit: str, *, cost: int, left: int, limit: int, retry_after_s: float | None) -> None:
        hint = "Ask for less at a time." if retry_after_s is None else "Wait for the next minute, or ask for less."
        super().__init__(f"This costs {cost} {unit}; the key has {left} of its {limit} a minute left. {hint}")
        self.unit = unit
        self.cost = cost
        self.left = left
        self.limit = limit
        self.retry_after_s = retry_after_s


class Refused(HouseError):
    """What was asked cannot be done; asking again changes nothing. `field` is the input path it concerns, if any."""

    code = "REFUSED"

    def __init__(
        self,
        message: str,
        *,
        field: tuple[str, ...] | None = None,
        upstream_request_id: str | None = None,
        upstream_code: str | None = None,
    ) -> None:
        super().__init__(message, upstream_request_id=upstream_request_id, upstream_code=upstream_code)
        self.field = field


class NotFound(Refused):
    """There is no such thing, or not for this caller: the two are never told apart."""

    code = "NOT_FOUND"


class Conflict(Refused):
    """It contradicts what is already there, such as an idempotency key used with other contents."""

    code = "CONFLICT"


def key_used(key: str | None) -> Conflict:
    """What a repeated request is told that asks for something else than the first of its idempotency key."""
    return Conflict(
        f"The idempotency key {key!r} was used before with other contents. "
        "Send the same contents again, or use a new key for new contents.",
        field=("idempotencyKey",),
    )


def version_passed(asked: int, holds: int) -> Conflict:
    """What to say to who would replace a version of a set that holds no more."""
    return Conflict(
        f"Version {holds} holds by now, and not {asked}. Read it, and ask again with it.",
        field=("version",),
    )


class Insufficient(Conflict):
    """A line of a reservation asks for more than can be sold; `others` are the same of its other lines."""

    code = "INSUFFICIENT_STOCK"
    others: Sequence[Insufficient] = ()


class OtherNumber(Conflict):
    """A compare-and-set found another number at the channel: `shown`, None where the channel did not say which."""

    code = "OTHER_NUMBER"

    def __init__(self, message: str, *, shown: int | None = None, upstream_request_id: str | None = None) -> None:
        super().__init__(message, upstream_request_id=upstream_request_id)
        self.shown = shown


class Invalid(Refused):
    """The input is malformed or breaks a rule."""

    code = "INVALID"


class Forbidden(Refused):
    """The caller is known and lacks the scope."""

    code = "FORBIDDEN"
