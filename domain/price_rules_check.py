"""Do rules of prices mean anything?"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date, datetime, time
from decimal import Decimal

from domain.errors import Invalid
from domain.ids import ChannelId
from domain.money import Money, minor_digits
from domain.price_rules import (
    ACTIONS,
    Amounts,
    Base,
    CostPlus,
    FeeTable,
    Follow,
    Limit,
    Match,
    PriceRule,
    PriceRules,
    Promotion,
    Rounding,
    StockDriven,
    Window,
    amount_in,
)
from domain.wall_clock import YEARS

MOST_RULES = 200
MOST_ENTRIES = 10_000  # of each list of a rule

MOST_MONEY = Decimal(10) ** 12
LONGEST_NAME = 100
MOST_HOURS = 10 * 366 * 24


def check(rules: PriceRules, channels: Collection[ChannelId]) -> None:
    """Raises Invalid, with the path in the set as its field, for rules that mean nothing or contradict themselves."""
    if len(rules.rules) > MOST_RULES:
        raise Invalid(f"At most {MOST_RULES} rules; these are {len(rules.rules)}.", field=("rules",))
    seen: set[str] = set()
    for number, rule in enumerate(rules.rules):
        at = ("rules", str(number))
        if not rule.name.strip() or len(rule.name) > LONGEST_NAME or rule.name in seen:
            words = f"Give each rule a name of its own, of at most {LONGEST_NAME} characters: chains tell their reasons by it."
            raise Invalid(words, field=(*at, "name"))
        seen.add(rule.name)
        _check_rule(rule, channels, at)


def _check_rule(rule: PriceRule, channels: Collection[ChannelId], at: tuple[str, ...]) -> None:
    actions = rule.actions
    if len(actions) != 1:
        told = "none" if not actions else " and ".join(name for name, _ in actions)
        raise Invalid(f"A rule does one of {', '.join(ACTIONS)}; this one tells {told}.", field=at)
    if rule.max_age_hours is not None and not 1 <= rule.max_age_hours <= MOST_HOURS:
        words = f"An age is 1 to {MOST_HOURS:,} hours; leave it out for any."
        raise Invalid(words, field=(*at, "max_age_hours"))
    _check_match(rule.match, channels, (*at, "match"))
    name, action = actions[0]
    here = (*at, name)
    match action:
        case Base():
            _check_base(action, channels, here)
        case CostPlus():
            _check_cost_plus(action, here)
        case Follow():
            _check_follow(action, here)
        case Limit():
            _check_limit(action, here)
        case Promotion():
            _check_promotion(action, here)
        case StockDriven():
            _check_stock(action, here)
        case Window():
            _check_window(action, rule.match, here)
        case _:
            _check_roundings(action, here)


def _check_match(match: Match, channels: Collection[ChannelId], at: tuple[str, ...]) -> None:
    for name in ("skus", "brands", "tags", "channels", "marketplaces"):
        entries: Sequence[str] = getattr(match, name)
        if len(entries) > MOST_ENTRIES:
            raise Invalid(f"At most {MOST_ENTRIES} {name}; these are {len(entries)}.", field=(*at, name))
    for number, channel in enumerate(match.channels):
        _check_channel(channel, channels, (*at, "channels", str(number)))
    if (match.hours_from is None) != (match.hours_to is None) or (
        match.hours_from is not None and match.hours_from == match.hours_to
    ):
        raise Invalid("Tell from when and until when, two times.", field=(*at, "hours_to"))
    for name in ("hours_from", "hours_to"):
        told: time | None = getattr(match, name)
        if told is not None and told.tzinfo is not None:
            raise Invalid("Hours are those of each marketplace: without a zone.", field=(*at, name))
    if any(day not in range(1, 8) for day in match.weekdays):
        raise Invalid("Days of the week are 1 (Monday) to 7 (Sunday).", field=(*at, "weekdays"))
    for name in ("first_on", "last_on"):
        _check_day(getattr(match, name), (*at, name))
    if match.first_on is not None and match.last_on is not None and match.last_on < match.first_on:
        raise Invalid("It would end before it begins.", field=(*at, "last_on"))
    if match.stock_below is not None and match.stock_from is not None and match.stock_below <= match.stock_from:
        raise Invalid("No stock is both.", field=(*at, "stock_below"))


def _check_day(day: date | None, at: tuple[str, ...]) -> None:
    if day is not None and day.year not in YEARS:
        raise Invalid(f"Years here are {YEARS[0]} to {YEARS[-1]}; leave it out where there is no such end.", field=at)


def _check_channel(channel: ChannelId, channels: Collection[ChannelId], at: tuple[str, ...]) -> None:
    if channel not in channels:
        raise Invalid(f"There is no channel {channel}. There are {', '.join(sorted(channels))}.", field=at)


def _check_base(base: Base, channels: Collection[ChannelId], at: tuple[str, ...]) -> None:
    if sum((bool(base.amounts), base.channel is not None, base.current)) != 1:
        raise Invalid("Tell amounts, or a channel, or that the current price is meant: one of them.", field=at)
    _check_amounts(base.amounts, (*at, "amounts"))
    if base.channel is not None:
        _check_channel(base.channel, channels, (*at, "channel"))
    if base.current and base.percent:
        raise Invalid("Each time it is computed the price would change again.", field=(*at, "percent"))
    _check_percent(base.percent, -100, 1000, (*at, "percent"))


def _check_cost_plus(plus: CostPlus, at: tuple[str, ...]) -> None:
    if sum((bool(plus.margin), plus.margin_percent is not None, plus.markup_percent is not None)) != 1:
        raise Invalid("Tell the margin once: as amounts, in percent of the price, or in percent of the cost.", field=at)
    _check_amounts(plus.margin, (*at, "margin"), least=0)
    _check_amounts(plus.extra, (*at, "extra"), least=0)
    for name, most in (("margin_percent", 90), ("markup_percent", 1000), ("tax_percent", 100), ("fees_within", 100)):
        value: Decimal | None = getattr(plus, name)
        if value is not None:
            _check_percent(value, 0, most, (*at, name))
    _check_once([one.currency for one in plus.fees], (*at, "fees"))
    for number, table in enumerate(plus.fees):
        _check_fees(table, (*at, "fees", str(number)))


def _check_fees(table: FeeTable, at: tuple[str, ...]) -> None:
    _check_amounts((Money(table.least, table.currency),), (*at, "least"), least=0)
    _check_amounts((Money(table.fixed, table.currency),), (*at, "fixed"), least=0)
    edges = [one.up_to for one in table.bands]
    ends = [one for one in edges if one is not None]
    if edges and (
        edges[-1] is not None or None in edges[:-1] or ends != sorted(set(ends)) or min(ends, default=1) <= 0
    ):
        words = "Bands come in the order of their ends, above 0, and the last one has none."
        raise Invalid(words, field=(*at, "bands"))
    for number, band in enumerate(table.bands):
        _check_percent(band.percent, 0, 90, (*at, "bands", str(number), "percent"))


def _check_follow(follow: Follow, at: tuple[str, ...]) -> None:
    _check_amounts(follow.amount, (*at, "amount"), least=None)
    _check_percent(follow.percent, -90, 1000, (*at, "percent"))
    _check_amounts(follow.shipping, (*at, "shipping"), least=0)
    _check_percent(follow.raise_percent, 0, 100, (*at, "raise_percent"))
    _check_bounds(follow.minimum, follow.maximum, at)


def _check_limit(limit: Limit, at: tuple[str, ...]) -> None:
    if not (limit.minimum or limit.maximum or limit.advertised or limit.margin):
        raise Invalid("Tell a minimum, a maximum, a least advertised price, or a margin.", field=at)
    _check_amounts(limit.advertised, (*at, "advertised"))
    _check_bounds(limit.minimum, limit.maximum, at)
    if limit.margin is not None:
        _check_cost_plus(limit.margin, (*at, "margin"))


def _check_bounds(minimum: Amounts, maximum: Amounts, at: tuple[str, ...]) -> None:
    _check_amounts(minimum, (*at, "minimum"))
    _check_amounts(maximum, (*at, "maximum"))
    for number, least in enumerate(minimum):
        most = amount_in(maximum, least.currency)
        if most is not None and most.amount < least.amount:
            raise Invalid("The minimum lies above the maximum.", field=(*at, "minimum", str(number)))


def _check_promotion(promotion: Promotion, at: tuple[str, ...]) -> None:
    if (promotion.percent is None) == (not promotion.amount):
        raise Invalid("Tell what it takes off: percent, or amounts.", field=at)
    if promotion.percent is not None and not 0 < promotion.percent < 100:
        raise Invalid("It takes off more than 0 and less than 100 percent.", field=(*at, "percent"))
    _check_amounts(promotion.amount, (*at, "amount"))
    for name in ("starts", "ends"):
        told: datetime = getattr(promotion, name)
        if told.tzinfo is not None or told.microsecond:
            raise Invalid("It is a time of each marketplace: without a zone, in whole seconds.", field=(*at, name))
        _check_day(told, (*at, name))
    if promotion.ends <= promotion.starts:
        raise Invalid("It would end before it begins.", field=(*at, "ends"))


def _check_stock(stock: StockDriven, at: tuple[str, ...]) -> None:
    if not stock.steps:
        raise Invalid("Tell at least one step.", field=(*at, "steps"))
    for number, step in enumerate(stock.steps):
        here = (*at, "steps", str(number))
        _check_percent(step.percent, -90, 1000, (*here, "percent"))
        if step.at_least is not None and step.below is not None and step.below <= step.at_least:
            raise Invalid("No stock is both.", field=(*here, "below"))


def _check_window(window: Window, match: Match, at: tuple[str, ...]) -> None:
    if not match.by_time:
        raise Invalid("Tell in the match when: hours, days of the week, or dates.", field=at)
    if sum((window.closed, bool(window.percent), bool(window.amount))) != 1:
        raise Invalid("Tell percent, amounts, or that it is closed: one of them.", field=at)
    _check_percent(window.percent, -90, 1000, (*at, "percent"))
    _check_amounts(window.amount, (*at, "amount"), least=None)


def _check_roundings(roundings: tuple[Rounding, ...], at: tuple[str, ...]) -> None:
    _check_once([one.currency for one in roundings], at)
    for number, one in enumerate(roundings):
        here = (*at, str(number))
        if (one.step is None) == (not one.endings):
            raise Invalid("Tell a step, or endings.", field=here)
        _check_amounts(tuple(Money(end, one.currency) for end in one.endings), (*here, "endings"), least=0, once=False)
        if one.step is not None:
            _check_amounts((Money(one.step, one.currency),), (*here, "step"))


def _check_amounts(amounts: Amounts, at: tuple[str, ...], *, least: int | None = 1, once: bool = True) -> None:
    """`least` is 1 for amounts above 0, 0 for 0 too, None for any."""
    if once:
        _check_once([one.currency for one in amounts], at)
    for number, one in enumerate(amounts):
        digits = minor_digits(one.currency)
        if abs(one.amount) >= MOST_MONEY:
            raise Invalid(f"{one.amount} is no price.", field=(*at, str(number)))
        if one.amount != one.amount.quantize(Decimal(1).scaleb(-digits)):
            raise Invalid(f"{one.currency} has {digits} decimals; this is {one.amount}.", field=(*at, str(number)))
        if least is not None and (one.amount < 0 or (least and not one.amount)):
            more = "above 0" if least else "0 or more"
            raise Invalid(f"An amount here is {more}; this is {one.amount}.", field=(*at, str(number)))


def _check_once(currencies: Sequence[str], at: tuple[str, ...]) -> None:
    for number, one in enumerate(currencies):
        if not re.fullmatch("[A-Z]{3}", one):
            raise Invalid(f"{one!r} is no ISO 4217 currency code such as EUR.", field=(*at, str(number)))
        if one in currencies[:number]:
            raise Invalid(f"{one} is told twice.", field=(*at, str(number)))


def _check_percent(value: Decimal, least: int, most: int, at: tuple[str, ...]) -> None:
    if not value.is_finite() or not least <= value <= most:
        raise Invalid(f"These are {least} to {most} percent; this is {value}.", field=at)
