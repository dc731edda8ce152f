"""Rules of what may be sold where. A changed rule is a new row and the old one ends, so that the past can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid, NotFound
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, RuleId, Sku, derived_id
from domain.rule import (
    ChannelShare,
    FbaShare,
    LastUnits,
    MaximumShown,
    PreOrder,
    Rule,
    RuleKind,
    SafetyStock,
    Settings,
    VelocityBuffer,
    check_settings,
    kind_of,
)
from store import event, marks, stock_sweep
from store.session import AnyRow
from store.tables import product, stock_rule

c = stock_rule.c

MOST_LETTERS = 200  # of a rule's name

# The kinds that are about one channel or one place; the others are for all of them.
_BY_CHANNEL = frozenset(
    {
        RuleKind.SAFETY_STOCK,
        RuleKind.MAXIMUM_SHOWN,
        RuleKind.CHANNEL_SHARE,
        RuleKind.FBA_SHARE,
        RuleKind.VELOCITY_BUFFER,
        RuleKind.PRE_ORDER,
    }
)
_BY_LOCATION = frozenset({RuleKind.SAFETY_STOCK, RuleKind.FBA_SHARE})


async def rules(tx: AsyncConnection, at: datetime | None = None) -> list[Rule]:
    """The rules there are, or were at `at`, by name; also those whose time has not come or is over."""
    query = select(stock_rule).order_by(c.name)
    if at is None:
        query = query.where(c.removed_at.is_(None))
    else:
        query = query.where(c.made_at <= at, or_(c.removed_at.is_(None), c.removed_at > at))
    return [_rule(row) for row in await tx.execute(query)]


async def save(tx: AsyncConnection, rule: Rule, by: str) -> Rule:
    """Keep a rule and return it as kept; its `id`, `made_by` and `made_at` are given here.

    Another one of its name ends; the same once more changes nothing. Numbers follow soon after: those of a SKU that the rule
    names first, those of all SKUs or of a tag step by step (`store.stock_sweep`); until then reservations leave a SKU the safety
    stock of the older rules. Raises Invalid, with the rule's own field, for what means nothing, and NotFound for an unknown SKU.
    """
    check(rule)
    if rule.sku is not None and not await tx.scalar(select(product.c.sku).where(product.c.sku == rule.sku)):
        raise NotFound(f"No product has the SKU {rule.sku}.", field=("sku",))
    # One after the other under one name: the second shall end what the first made.
    await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"stock_rule:{rule.name}", 0))))
    row = (await tx.execute(select(stock_rule).where(c.name == rule.name, c.removed_at.is_(None)))).one_or_none()
    if row is not None and _contents(_rule(row)) == _contents(rule):
        return _rule(row)
    at = await tx.scalar(select(func.clock_timestamp()))
    assert isinstance(at, datetime)
    if row is not None:
        await tx.execute(update(stock_rule).where(c.id == row.id).values(removed_at=at, removed_by=by))
    id = derived_id("rule", rule.name, at.isoformat())
    kept = {**_contents(rule), "id": id, "made_by": by, "made_at": at}
    made = _rule((await tx.execute(insert(stock_rule).values(kept).returning(stock_rule))).one())
    await _tell(tx, [made] if row is None else [_rule(row), made])
    return made


async def remove(tx: AsyncConnection, id: RuleId, by: str) -> Rule:
    """End a rule; numbers follow as in `save`. Raises NotFound when there is none, or none any more."""
    statement = (
        update(stock_rule)
        .where(c.id == id, c.removed_at.is_(None))
        .values(removed_at=func.clock_timestamp(), removed_by=by)
        .returning(stock_rule)
    )
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise NotFound(f"No rule has the id {id}; it may have been replaced or removed.", field=("id",))
    ended = _rule(row)
    await _tell(tx, [ended])
    return ended


def check(rule: Rule) -> None:
    """Raises Invalid, with the rule's own field, for a rule that means nothing."""
    check_settings(rule.settings)
    kind = kind_of(rule.settings)
    if not rule.name.strip() or len(rule.name) > MOST_LETTERS:
        raise Invalid(f"A rule has a name of 1 to {MOST_LETTERS} letters; numbers name it.", field=("name",))
    if rule.channel is not None and kind not in _BY_CHANNEL:
        raise Invalid(
            f"{kind.value} settles something between all channels: leave the channel out.", field=("channel",)
        )
    if rule.location is not None and kind not in _BY_LOCATION:
        raise Invalid(f"{kind.value} is for all places: leave the location out.", field=("location",))
    if rule.location is not None and rule.channel is not None and kind is RuleKind.SAFETY_STOCK:
        raise Invalid("Units are kept at a place for all channels: leave one of the two out.", field=("channel",))
    if isinstance(rule.settings, ChannelShare) and rule.settings.hard and rule.channel is None:
        raise Invalid("A hard share is kept for one channel: name it.", field=("channel",))
    if rule.starts_at is not None and rule.ends_at is not None and rule.ends_at <= rule.starts_at:
        raise Invalid("The rule would end before it begins.", field=("ends_at",))


async def _tell(tx: AsyncConnection, changed: Sequence[Rule]) -> None:
    """Tell that rules changed. A SKU that one names is marked at once, the many that others are for step by step."""
    told = {"rules": [{"id": rule.id, "name": rule.name} for rule in changed]}
    await event.append(tx, [NewEvent(EventKind.STOCK_RULES_CHANGED, "*", told)])
    await stock_sweep.begin(tx, {rule.tag for rule in changed if rule.sku is None})
    await marks.mark(tx, {rule.sku for rule in changed if rule.sku is not None})


def _contents(rule: Rule) -> dict[str, Any]:
    """What a rule says, as its row has it."""
    return {
        "name": rule.name,
        "kind": kind_of(rule.settings).value,
        "sku": rule.sku,
        "tag": rule.tag,
        "channel": rule.channel,
        "location": rule.location,
        "priority": rule.priority,
        "settings": settings_row(rule.settings),
        "starts_at": rule.starts_at,
        "ends_at": rule.ends_at,
    }


def _rule(row: AnyRow) -> Rule:
    return Rule(
        id=RuleId(row.id),
        name=row.name,
        settings=settings_of(RuleKind(row.kind), row.settings),
        sku=None if row.sku is None else Sku(row.sku),
        tag=row.tag,
        channel=None if row.channel is None else ChannelId(row.channel),
        location=row.location,
        priority=row.priority,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        made_by=row.made_by,
        made_at=row.made_at,
    )


def settings_row(settings: Settings) -> dict[str, Any]:
    """Settings as JSON: decimals as text, durations in seconds, sets as sorted lists."""
    match settings:
        case SafetyStock() | MaximumShown() | LastUnits():
            return {"units": settings.units}
        case PreOrder():
            return {"percent": _text(settings.percent), "cap": settings.cap}
        case ChannelShare():
            return {"percent": _text(settings.percent), "hard": settings.hard}
        case FbaShare():
            return {
                "percent": _text(settings.percent),
                "cap": settings.cap,
                "floor": settings.floor,
                "max_age": settings.max_age.total_seconds(),
                "countries": sorted(settings.countries),
                "excluded_states": sorted(settings.excluded_states),
            }
        case VelocityBuffer():
            return {"certainty": _text(settings.certainty), "least_lag": settings.least_lag.total_seconds()}


def settings_of(kind: RuleKind, row: Mapping[str, Any]) -> Settings:
    """The settings that `settings_row` wrote."""
    match kind:
        case RuleKind.SAFETY_STOCK:
            return SafetyStock(row["units"])
        case RuleKind.MAXIMUM_SHOWN:
            return MaximumShown(row["units"])
        case RuleKind.LAST_UNITS:
            return LastUnits(row["units"])
        case RuleKind.PRE_ORDER:
            return PreOrder(Decimal(row["percent"]), row["cap"])
        case RuleKind.CHANNEL_SHARE:
            return ChannelShare(Decimal(row["percent"]), row["hard"])
        case RuleKind.FBA_SHARE:
            return FbaShare(
                percent=Decimal(row["percent"]),
                cap=row["cap"],
                floor=row["floor"],
                max_age=timedelta(seconds=row["max_age"]),
                countries=frozenset(row["countries"]),
                excluded_states=frozenset(row["excluded_states"]),
            )
        case RuleKind.VELOCITY_BUFFER:
            return VelocityBuffer(Decimal(row["certainty"]), timedelta(seconds=row["least_lag"]))


def _text(value: Decimal) -> str:
    """One text for equal numbers, such as 5 and 5.0."""
    return f"{value.normalize():f}"
