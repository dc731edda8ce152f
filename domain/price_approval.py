"""When a change of prices wants a second person, whatever the other guards say: by its size, its count and its channel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from domain.errors import Invalid
from domain.money import Money, parse_money
from domain.price import Action, Hit, JudgedWish, Origin, PriceWish

FREE = frozenset({Origin.SALE, Origin.REVERT})
"""What was approved when it was asked for first: a sale that begins as it was to, a price that was live before."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What one person may not do alone; as it stands here, everybody may do everything.

    A second person is wanted where a row moves a price by more than `row`, all rows together by more than `total` (either by
    currency; one that is not named knows no bound), where there are more than `rows` rows, and always at `channels`.
    """

    row: Mapping[str, Decimal] = field(default_factory=dict)
    total: Mapping[str, Decimal] = field(default_factory=dict)
    rows: int | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("row", "total"):
            for currency, amount in getattr(self, name).items():
                if Money(amount, currency).amount < 0:
                    raise Invalid(
                        "An amount from which on a second person is wanted is 0 or more.", field=("approval", name)
                    )
        if self.rows is not None and self.rows < 0:
            raise Invalid("The count from which on a second person is wanted is 0 or more.", field=("approval", "rows"))

    def told(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "row": {currency: str(amount) for currency, amount in sorted(self.row.items())},
            "total": {currency: str(amount) for currency, amount in sorted(self.total.items())},
            "rows": self.rows,
            "channels": list(self.channels),
        }


def read_approval(told: Mapping[str, Any]) -> Approval:
    """The same again; what is left out is as by default. Raises Invalid."""
    unknown = set(told) - {"row", "total", "rows", "channels"}
    if unknown:
        raise Invalid(f"An approval knows no {', '.join(sorted(unknown))}.", field=("approval",))
    return Approval(
        row={currency: parse_money(str(amount), currency).amount for currency, amount in told.get("row", {}).items()},
        total={
            currency: parse_money(str(amount), currency).amount for currency, amount in told.get("total", {}).items()
        },
        rows=told.get("rows"),
        channels=tuple(told.get("channels", ())),
    )


def second_person(approval: Approval, rows: Sequence[JudgedWish]) -> tuple[Hit, ...]:
    """Why somebody else than the author has to approve these rows: nothing, where nobody has to.

    Rows that are refused, or that change nothing, do not count. A row of which nobody knows what it is moved from moves all of
    its price.
    """
    if approval == Approval():
        return ()
    counted = [row for row in rows if row.wish.origin not in FREE and not row.refused]
    moves = [_Move(row.wish, shift) for row in counted if (shift := row.shift).amount]
    told = (_row(approval, moves), _total(approval, moves), _rows(approval, moves), _channels(approval, moves))
    return tuple(Hit("APPROVAL", Action.HOLD, words) for words in told if words)


class _Move(NamedTuple):
    wish: PriceWish
    shift: Money


def _row(approval: Approval, moves: Sequence[_Move]) -> str:
    far = [one for one in moves if _beyond(approval.row, one.shift)]
    if not far:
        return ""
    wish, shift = far[0]
    more = f", and {len(far) - 1} more rows by more than they may" if len(far) > 1 else ""
    bound = approval.row[shift.currency]
    return f"{wish.key} moves by {shift.amount:f} {shift.currency}{more}; one person moves a price by {bound:f} at the most."


def _total(approval: Approval, moves: Sequence[_Move]) -> str:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for _, shift in moves:
        sums[shift.currency] += shift.amount
    far = [
        one for one in (Money(amount, currency) for currency, amount in sums.items()) if _beyond(approval.total, one)
    ]
    told = ", ".join(f"{one.amount:f} {one.currency} of {approval.total[one.currency]:f}" for one in far)
    return f"The changes come to more than one person may make: {told}." if far else ""


def _rows(approval: Approval, moves: Sequence[_Move]) -> str:
    if approval.rows is None or len(moves) <= approval.rows:
        return ""
    return f"{len(moves)} rows are more than the {approval.rows} that one person may change."


def _channels(approval: Approval, moves: Sequence[_Move]) -> str:
    named = sorted({wish.channel for wish, _ in moves} & set(approval.channels))
    return f"Nobody changes prices of {', '.join(named)} alone." if named else ""


def _beyond(bounds: Mapping[str, Decimal], amount: Money) -> bool:
    bound = bounds.get(amount.currency)
    return bound is not None and amount.amount > bound
