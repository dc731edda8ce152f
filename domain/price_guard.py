"""Guards: what no price may be, whichever way it came in. Data, and pure functions over it.

They are asked when a change is kept, again when it is approved, and a last time just before it leaves the house: no path to a
channel passes them by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.money import Money
from domain.price import Action, Hit, JudgedWish, Judgment, PriceFacts, PriceWish


@dataclass(frozen=True, slots=True)
class PriceGuards:
    """A set of guards. `version` grows with each set that is kept; 0 is what holds while nobody has kept one."""

    version: int = 0


def judge(
    guards: PriceGuards, wishes: Sequence[tuple[PriceWish, PriceFacts]], at: datetime, *, single: bool = False
) -> Judgment:
    """What the guards say of each wish and of all together. `single`: one that is about to be sent, of a request that was judged
    as a whole before."""
    return Judgment(tuple(JudgedWish(wish, facts, _hits(wish, facts)) for wish, facts in wishes))


def _hits(wish: PriceWish, facts: PriceFacts) -> tuple[Hit, ...]:
    return tuple(hit for hit in (_wrong_currency(wish, facts.currency), _nothing(wish.price.lowest)) if hit is not None)


def _wrong_currency(wish: PriceWish, currency: str | None) -> Hit | None:
    if currency is None or wish.price.regular.currency == currency:
        return None
    words = f"{wish.key} is sold in {currency}, and {wish.price.regular.currency} was meant. Ask again in {currency}."
    return Hit("CURRENCY", Action.REFUSE, words)


def _nothing(lowest: Money) -> Hit | None:
    if lowest.amount > 0:
        return None
    return Hit("FLOOR", Action.REFUSE, "A price lies above 0.")
