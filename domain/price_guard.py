"""Guards: what no price may be, whichever way it came in. A set of them, as data; `domain.price_judge` asks them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any

from domain.errors import Invalid
from domain.ids import ChannelId, Sku
from domain.price import Action, PriceFacts, PriceWish
from domain.price_approval import Approval, read_approval
from domain.price_canary import Radius, read_radius

MOST_GUARDS = 10_000
"""Of one set: it is read whole whenever prices are judged."""
LONGEST_NAME = 100


class GuardKind(Enum):
    """What a guard looks at; its settings are the fields of `Guard` that `SETTINGS` names."""

    FLOOR = "FLOOR"
    CEILING = "CEILING"
    MAP = "MAP"
    STEP = "STEP"
    DAY = "DAY"
    SHIFT = "SHIFT"
    UNKNOWN = "UNKNOWN"
    STOP_LOSS = "STOP_LOSS"


ACTIONS: Mapping[GuardKind, Action] = {
    GuardKind.FLOOR: Action.REFUSE,
    GuardKind.CEILING: Action.REFUSE,
    GuardKind.MAP: Action.REFUSE,
    GuardKind.STEP: Action.HOLD,
    GuardKind.DAY: Action.HOLD,
    GuardKind.SHIFT: Action.REFUSE,
    GuardKind.UNKNOWN: Action.HOLD,
    GuardKind.STOP_LOSS: Action.HOLD,
}
"""What follows where nobody says otherwise."""

SETTINGS: Mapping[GuardKind, tuple[str, ...]] = {
    GuardKind.FLOOR: ("amount", "margin", "fees"),
    GuardKind.CEILING: ("amount", "factor"),
    GuardKind.MAP: ("amount",),
    GuardKind.STEP: ("up", "down"),
    GuardKind.DAY: ("up", "down"),
    GuardKind.SHIFT: (),
    GuardKind.UNKNOWN: (),
    GuardKind.STOP_LOSS: ("step", "share", "rows"),
}


@dataclass(frozen=True, slots=True)
class Guard:
    """One limit, for the listings that all of `sku`, `brand`, `channel`, `marketplace` and `currency` fit which are told.

    FLOOR, MAP: buyers never pay less than `amount` (of `currency`), or than landed cost and `margin` percent of it, and with
    `fees` what the channel takes besides. CEILING: nor more than `amount`, or than `factor` times the most that another listing
    of the SKU takes. STEP: at most `up` and `down` percent from what is shown; DAY: from what buyers paid 24 hours before. SHIFT:
    the point moved, or another currency's amount. UNKNOWN: nothing to compare it with. STOP_LOSS: of a request with at least
    `rows` rows at most `share` percent move by more than `step` percent.
    """

    name: str
    kind: GuardKind
    action: Action
    sku: Sku | None = None
    brand: str | None = None
    channel: ChannelId | None = None
    marketplace: str | None = None
    currency: str | None = None
    except_skus: tuple[Sku, ...] = ()
    amount: Decimal | None = None
    margin: Decimal | None = None
    fees: bool = False
    factor: Decimal | None = None
    up: Decimal | None = None
    down: Decimal | None = None
    step: Decimal | None = None
    share: Decimal | None = None
    rows: int | None = None

    def fits(self, wish: PriceWish, facts: PriceFacts) -> bool:
        """Does it hold for such a wish?"""
        return (
            self.sku in (None, wish.sku)
            and self.brand in (None, facts.brand)
            and self.channel in (None, wish.channel)
            and self.marketplace in (None, wish.marketplace)
            and self.currency in (None, wish.price.regular.currency)
            and wish.sku not in self.except_skus
        )


def _usual(kind: GuardKind, name: str, **settings: Any) -> Guard:
    return Guard(name, kind, ACTIONS[kind], **settings)


DEFAULTS = (
    _usual(GuardKind.FLOOR, "at cost", margin=Decimal(0)),
    _usual(GuardKind.SHIFT, "shifted point or currency"),
    _usual(GuardKind.STEP, "one step", up=Decimal(30), down=Decimal(30)),
    _usual(GuardKind.DAY, "one day", up=Decimal(50), down=Decimal(50)),
    _usual(GuardKind.UNKNOWN, "nothing to compare with"),
    _usual(GuardKind.STOP_LOSS, "much of one request", step=Decimal(20), share=Decimal(5), rows=20),
)
"""What holds while nobody has kept a set."""
USUAL_RADIUS = Radius()
NO_APPROVAL = Approval()


@dataclass(frozen=True)  # without slots: what is looked up often is indexed once
class PriceGuards:
    """A set of guards, and with them how far a change may reach before a canary goes first, and which change
    wants a second person. `version` grows with each set that is kept; 0 is what holds while nobody has kept one."""

    version: int = 0
    guards: tuple[Guard, ...] = DEFAULTS
    radius: Radius = USUAL_RADIUS
    approval: Approval = NO_APPROVAL
    made_by: str = ""
    made_at: datetime | None = None

    def of(self, wish: PriceWish, facts: PriceFacts) -> Iterator[Guard]:
        """The guards that hold for a wish, in the order of the set, those that name its SKU last."""
        for guards in (self._by_sku.get(None, ()), self._by_sku.get(wish.sku, ()) if wish.sku is not None else ()):
            yield from (one for one in guards if one.fits(wish, facts))

    @cached_property
    def _by_sku(self) -> dict[Sku | None, list[Guard]]:
        found: dict[Sku | None, list[Guard]] = {}
        for one in self.guards:
            if one.kind is not GuardKind.STOP_LOSS:
                found.setdefault(one.sku, []).append(one)
        return found


def check(set_: PriceGuards, channels: Collection[ChannelId]) -> None:
    """Raises Invalid, with the path in the set as its field, for guards that mean nothing."""
    if len(set_.guards) > MOST_GUARDS:
        raise Invalid(f"At most {MOST_GUARDS} guards; these are {len(set_.guards)}.", field=("guards",))
    seen: set[str] = set()
    for number, one in enumerate(set_.guards):
        at = ("guards", str(number))
        if not one.name.strip() or len(one.name) > LONGEST_NAME:
            raise Invalid(
                f"Give it a name of at most {LONGEST_NAME} characters: hits are told by it.", field=(*at, "name")
            )
        if one.name in seen:
            raise Invalid(f"Another guard is called {one.name!r} too.", field=(*at, "name"))
        seen.add(one.name)
        if one.channel is not None and one.channel not in channels:
            there = ", ".join(sorted(channels))
            raise Invalid(f"There is no channel {one.channel}. There are {there}.", field=(*at, "channel"))
        if one.currency is not None and not re.fullmatch("[A-Z]{3}", one.currency):
            raise Invalid(f"{one.currency!r} is no ISO 4217 currency code such as EUR.", field=(*at, "currency"))
        _check_settings(one, at)
    for number, channel in enumerate(set_.approval.channels):
        if channel not in channels:
            raise Invalid(f"There is no channel {channel}.", field=("approval", "channelIds", str(number)))


def _check_settings(one: Guard, at: tuple[str, ...]) -> None:
    told = [name for name in _ALL_SETTINGS if getattr(one, name) is not None and getattr(one, name) is not False]
    for name in told:
        if name not in SETTINGS[one.kind]:
            known = ", ".join(SETTINGS[one.kind]) or "no settings"
            raise Invalid(f"{one.kind.value} knows no {name}; it knows {known}.", field=(*at, name))
    match one.kind:
        case GuardKind.FLOOR:
            _one_of(one, ("amount", "margin"), at)
            if one.fees and one.margin is None:
                raise Invalid(
                    "Fees come on top of a margin over cost; an amount stands for itself.", field=(*at, "fees")
                )
        case GuardKind.CEILING:
            _one_of(one, ("amount", "factor"), at)
        case GuardKind.MAP:
            _one_of(one, ("amount",), at)
        case GuardKind.STEP | GuardKind.DAY:
            if one.up is None and one.down is None:
                raise Invalid("Say how far up, how far down, or both, in percent.", field=(*at, "up"))
        case GuardKind.STOP_LOSS:
            for name in SETTINGS[one.kind]:
                if getattr(one, name) is None:
                    raise Invalid("A stop-loss wants step, share and rows.", field=(*at, name))
    if one.amount is not None and one.currency is None:
        raise Invalid("An amount is of one currency: name it.", field=(*at, "currency"))
    for name, (least, most) in _RANGES.items():
        value = getattr(one, name)
        if value is not None and not (value.is_finite() and least <= value <= most):
            raise Invalid(f"{name} lies between {least} and {most}; this is {value:f}.", field=(*at, name))
    if one.rows is not None and one.rows < 1:
        raise Invalid("rows is 1 or more.", field=(*at, "rows"))


def _one_of(one: Guard, names: tuple[str, ...], at: tuple[str, ...]) -> None:
    if sum(getattr(one, name) is not None for name in names) != 1:
        what = f"either {' or '.join(names)}" if len(names) > 1 else names[0]
        raise Invalid(f"{one.kind.value} wants {what}.", field=(*at, names[0]))


_ALL_SETTINGS = ("amount", "margin", "fees", "factor", "up", "down", "step", "share", "rows")
_RANGES: Mapping[str, tuple[Decimal, Decimal]] = {
    "amount": (Decimal("0.001"), Decimal(10) ** 12),
    "margin": (Decimal(-100), Decimal(10_000)),
    "factor": (Decimal("0.01"), Decimal(1000)),
    "up": (Decimal(0), Decimal(100_000)),
    "down": (Decimal(0), Decimal(100)),
    "step": (Decimal(0), Decimal(1000)),
    "share": (Decimal(0), Decimal(100)),
}


def to_json(set_: PriceGuards) -> dict[str, Any]:
    """The set as JSON values, without its version, maker and time: decimals as text, what is None left out."""
    return {
        "guards": [_row(one) for one in set_.guards],
        "radius": set_.radius.told(),
        "approval": set_.approval.told(),
    }


def from_json(told: Mapping[str, Any], *, version: int, made_by: str, made_at: datetime) -> PriceGuards:
    """The set that `to_json` wrote."""
    return PriceGuards(
        version=version,
        guards=tuple(_guard(row) for row in told["guards"]),
        radius=read_radius(told["radius"]),
        approval=read_approval(told["approval"]),
        made_by=made_by,
        made_at=made_at,
    )


def _row(one: Guard) -> dict[str, Any]:
    values = {field.name: getattr(one, field.name) for field in fields(one)}
    # A margin of 0 is told: it equals False, and is not it.
    return {name: _value(one) for name, one in values.items() if one is not None and one is not False and one != ()}


def _value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _guard(row: Mapping[str, Any]) -> Guard:
    decimals = {name: Decimal(row[name]) for name in _RANGES if name in row}
    read = {"kind": GuardKind(row["kind"]), "action": Action(row["action"])}
    excepted = {"except_skus": tuple(row["except_skus"])} if "except_skus" in row else {}
    return Guard(**{**row, **decimals, **read, **excepted})
