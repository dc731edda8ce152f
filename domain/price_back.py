"""Taking one listing's price back: to what, and whether that may still be done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from domain.price import Origin, Price, PriceWish
from domain.price_history import alike

SINCE = "CHANGED_SINCE"
"""The code of a row that is left as it is, since others have changed its price after it."""
UNKNOWN = "UNKNOWN_BEFORE"
"""The code of one of which nobody knows what to take it back to."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was asked for one listing and has come about, or may have. `newest`: nothing else was asked for it since. `before` was
    seen live before it, `live` is seen now; None if nobody knows."""

    wish: PriceWish
    newest: bool
    before: Price | None
    live: Price | None


@dataclass(frozen=True, slots=True)
class Taken:
    """The wish that takes a row back; or, where there are `words`, why the row is left as it is, with their code."""

    wish: PriceWish
    words: str = ""
    code: str = ""


def taken_back(row: Row, at: datetime) -> Taken | None:
    """What it takes to have the listing sold as it was before; None where it was sold for the same. A sale that is over by now is
    not begun anew."""
    key = row.wish.key
    before = None if row.before is None else _still(row.before, at)
    if before == row.wish.price:
        return None
    if not row.newest:
        return _left(row, SINCE, f"Something else was asked for {key} since.")
    if before is None:
        return _left(row, UNKNOWN, f"Nobody has seen what {key} was sold for before.")
    # Where it shows again what it showed before, which a catalog may tell late, to ask for that replaces nobody's price.
    if row.live is not None and not alike(row.wish.price, row.live) and not alike(before, row.live):
        shown = f"{row.live.at(at).amount:f} {row.live.at(at).currency}"
        return _left(row, SINCE, f"{key} shows {shown}, which we have not asked for: somebody has changed it since.")
    return Taken(_undone(row, before))


def _still(price: Price, at: datetime) -> Price:
    sale = price.sale
    over = sale is not None and sale.ends_at is not None and sale.ends_at <= at
    return replace(price, sale=None) if over else price


def _left(row: Row, code: str, words: str) -> Taken:
    return Taken(_undone(row, row.wish.price), words, code)


def _undone(row: Row, price: Price) -> PriceWish:
    return replace(row.wish, price=price, origin=Origin.REVERT, rules_version=None, chain=())
