"""Named places between two side effects where a worker may be made to die, so that tests can prove that it may.

`ACORN_CRASH_AT=after_send` ends the process at the first passing of that place, `after_send:3` at the third: no handler runs and
nothing is flushed, as with SIGKILL. Without the variable a place costs one comparison.
"""

from __future__ import annotations

import os

POINTS = (
    # the bell, in the process that committed the operation
    "before_ring",
    # a lane
    "after_claim",
    "before_intent",
    "after_intent",
    "after_send",
    "before_record",
    "inside_record",
    "after_record",
    # only passed by items that the platform has just taken
    "before_accepted",
    "after_accepted",
    # reading back: an unknown outcome, or what was taken
    "after_look",
    "after_verify_read",
    "before_verify_record",
    "after_verified",
    # numbers: before the intent, between their being taken and the record of it, and between a look and the record of it
    "before_tell",
    "after_tell",
    "before_shown_record",
    # prices, many at once: before and behind the intent, between their being taken and the record of it, between a look and the
    # record of it
    "before_prices_intent",
    "after_prices_intent",
    "after_prices_sent",
    "after_prices_look",
    # events and streams
    "before_relay_commit",
    "after_relay_commit",
    "after_page",
    "before_cursor",
    # an order that another platform ships: looked at, inside the transaction that keeps what was seen, and behind it
    "after_outbound_look",
    "inside_outbound_record",
    "after_outbound_record",
    # webhooks out: deliveries made, claimed, sent, noted
    "before_spread_commit",
    "after_webhook_claim",
    "after_webhook_send",
    "inside_webhook_record",
    "after_webhook_record",
    # a canary of prices: inside the transaction that decides about it and does what follows, and behind it
    "inside_canary_verdict",
    "after_canary_verdict",
)


_at = ""
_left = 0


def plan(wish: str) -> None:
    """From now on, die at this place: `name`, or `name:N` for its Nth passing; nowhere for an empty wish."""
    global _at, _left
    name, _, passing = wish.partition(":")
    if name and name not in POINTS:
        raise ValueError(f"ACORN_CRASH_AT={wish}: there is no such place; the places are {', '.join(POINTS)}.")
    _at, _left = name, int(passing or 1)


plan(os.environ.get("ACORN_CRASH_AT", ""))


def point(name: str) -> None:
    """A place by its name in POINTS. Dies here when that was asked for."""
    global _left
    if name != _at:
        return
    _left -= 1
    if _left == 0:
        os._exit(137)
