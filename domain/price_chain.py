"""From rules and what is known of a listing to its price, with every step that led there.

Whole minor units and fractions, no clock, nothing in an order by chance: the same rules, inputs and instant make the same price
and the same chain, to the letter, on any worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from zoneinfo import ZoneInfo

from domain.money import Money, minor_digits
from domain.price import Price, Sale
from domain.price_inputs import PriceInputs
from domain.price_known import Known, Lack, share, told
from domain.price_margin import least_with_margin
from domain.price_round import between, ends_so, rounded
from domain.price_rules import (
    Action,
    Amounts,
    Base,
    CostPlus,
    Follow,
    Holding,
    Lacking,
    Limit,
    Match,
    Measure,
    PriceRule,
    PriceRules,
    Promotion,
    Rounding,
    StockDriven,
    StockStep,
    Subject,
    Target,
    Window,
)
from domain.price_solve import nearest
from domain.wall_clock import first_instant, last_instant, turns

Link = Mapping[str, object]
"""A step of a chain, as JSON values: `rule`, `kind`, `outcome` (APPLIED, IDLE, SKIPPED, STOPPED), the price `before` and `after`
(null while there is none), `why`, and the `inputs` that were used, each as text."""

A_WEEK = 8
"""Days in which each day of the week begins and ends."""


@dataclass(frozen=True, slots=True)
class Computed:
    """The price that rules make, None where they make none; `chain` says how, step by step, and `words` in short.

    `lacking` is what rules did not know. `fees_at` is the price for which the channel should be asked for its fees, where those
    that are known are of a price too far away.
    """

    price: Price | None
    chain: tuple[Link, ...]
    words: str
    lacking: tuple[str, ...] = ()
    fees_at: Money | None = None


def compute(rules: PriceRules, subject: Subject, inputs: PriceInputs, at: datetime) -> Computed:
    """Apply the rules in their order, each to the price so far. A rule that lacks what it needs is left out, or leaves the
    listing without a price, as it says; so do limits that contradict each other."""
    if inputs.currency is None:
        return Computed(None, (), "Nobody knows in which currency it is sold.", ("currency",))
    run = _Run(inputs, at, inputs.currency, minor_digits(inputs.currency), zone=subject.zone)
    wall = at.astimezone(subject.zone)
    for rule in rules.rules:
        if not rule.match.is_for(subject) or not rule.match.holds(wall):
            continue
        outcome = run.apply(rule)
        if outcome == STOPPED:
            return run.computed(None)
        if rule.final and outcome == APPLIED:
            break
    return run.computed(run.told())


def next_turn(rules: PriceRules, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The next instant at which a price may be another one by time alone, in UTC; None where there is none. It may come where
    nothing changes, and never misses a change."""
    found = {one for rule in rules.rules for one in _dated(rule, zone)}
    matches = [rule.match for rule in rules.rules if rule.match.by_time]
    if matches:
        times = {time()} | {one for match in matches for one in (match.hours_from, match.hours_to) if one is not None}
        day = after.astimezone(zone).date()
        found |= {one for ahead in range(A_WEEK + 1) for one in turns(times, day + timedelta(days=ahead), zone)}
    return min((one for one in found if one > after), default=None)


def _dated(rule: PriceRule, zone: ZoneInfo) -> list[datetime]:
    found = []
    if rule.promotion is not None:
        found += [first_instant(rule.promotion.starts, zone), last_instant(rule.promotion.ends, zone)]
    if rule.match.first_on is not None:
        found.append(first_instant(datetime.combine(rule.match.first_on, time()), zone))
    if rule.match.last_on is not None:
        found.append(first_instant(datetime.combine(rule.match.last_on + timedelta(days=1), time()), zone))
    return found


APPLIED, IDLE, SKIPPED, STOPPED = "APPLIED", "IDLE", "SKIPPED", "STOPPED"


class _Contradiction(Exception):
    """No price is within the limits."""


@dataclass(frozen=True, slots=True)
class _Sale:
    price: int
    starts_at: datetime
    ends_at: datetime


@dataclass(slots=True, kw_only=True)
class _Run(Known):
    """The price so far, in minor units, and the limits that hold for it. `kept`: it is the one that there is."""

    zone: ZoneInfo
    price: int | None = None
    sale: _Sale | None = None
    lowest: int | None = None
    highest: int | None = None
    kept: bool = False
    chain: list[Link] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    # ── one rule after the other ──

    def apply(self, rule: PriceRule) -> str:
        """Apply one rule, add the step to the chain, and answer its outcome."""
        ((kind, action),) = rule.actions
        self.oldest = None if rule.max_age_hours is None else self.at - timedelta(hours=rule.max_age_hours)
        self.used, before = {}, self.shown()
        try:
            if not self.in_stock(rule.match):
                return IDLE
            outcome, why = self.act(action)
            why += self.bound()
        except Lack as lack:
            why = str(lack)
            outcome = STOPPED if rule.lacking is Lacking.STOP else SKIPPED
            self.lacking.append(f"{rule.name}: {why}")
        except _Contradiction as problem:
            outcome, why = STOPPED, str(problem)
        self.chain.append(
            {
                "rule": rule.name,
                "kind": kind.upper(),
                "outcome": outcome,
                "before": before,
                "after": None if outcome == STOPPED else self.shown(),
                "why": why,
                "inputs": dict(sorted(self.used.items())),
            }
        )
        return outcome

    def act(self, action: Action) -> tuple[str, str]:
        """Do what a rule does; the outcome, and why."""
        match action:
            case Base():
                return APPLIED, self.base(action)
            case CostPlus():
                price, why = least_with_margin(self, action)
                self.begin(price)
                return APPLIED, why
            case Follow():
                return APPLIED, self.follow(action)
            case Limit():
                return APPLIED, self.limit(action)
            case Promotion():
                return self.promote(action)
            case StockDriven():
                return self.by_stock(action)
            case Window():
                return self.by_window(action)
            case _:
                return self.round(action)

    def in_stock(self, match: Match) -> bool:
        """Does the match hold for the stock that there is?"""
        if match.stock_below is None and match.stock_from is None:
            return True
        units = self.units()
        return (match.stock_below is None or units < match.stock_below) and (
            match.stock_from is None or units >= match.stock_from
        )

    def begin(self, price: int, *, kept: bool = False) -> None:
        """The price so far is this one, whatever it was before."""
        if price < 1:
            raise Lack(f"nothing would be left of the price: {self.text(price)}")
        self.price, self.sale, self.kept = price, None, kept

    def bound(self) -> str:
        """Keep price and sale within the limits; what that changed, in words."""
        said = ""
        if self.price is not None:
            inside = self.inside(self.price)
            said = "" if inside == self.price else f"; within its limits {self.text(inside)}"
            self.price = inside
            if self.sale is not None:
                self.sale = _Sale(self.inside(self.sale.price), self.sale.starts_at, self.sale.ends_at)
                if self.sale.price >= self.price:
                    self.sale = None
                    said += "; within its limits a sale would not be lower"
        return said

    def inside(self, price: int) -> int:
        """The price within the limits that is nearest."""
        return between(price, self.lowest, self.highest)

    # ── where a price begins ──

    def base(self, base: Base) -> str:
        """Begin with a price that is told, here or elsewhere; why it is that one."""
        if base.current:
            self.begin(self.current(), kept=True)
            return "the price that there is"
        if base.channel is None:
            amount = self.meant(base.amounts, convert=base.convert)
            self.begin(nearest(amount * (1 + share(base.percent))))
            return "a fixed amount"
        found = [
            one
            for one in self.inputs.elsewhere
            if one.channel == base.channel and base.marketplace in (None, one.marketplace)
        ]
        place = base.channel if base.marketplace is None else f"{base.channel}/{base.marketplace}"
        if len({one.price for one in found}) != 1:
            raise Lack(f"{'no price' if not found else 'more than one price'} at {place} is known")
        newest = max(found, key=lambda one: (one.as_of, one.marketplace or ""))
        self.fresh(f"the price at {place}", newest.as_of)
        self.use("elsewhere", f"{told(newest.price)} at {place}")
        self.begin(nearest(self.converted(newest.price) * (1 + share(base.percent))))
        return f"as at {place}"

    def follow(self, follow: Follow) -> str:
        """Begin with the price of an offer; why it is that one."""
        lower, upper = self.bounds(follow)
        featured, expected = self.inputs.featured, self.inputs.expected
        if featured is not None:
            self.fresh("the featured offer", featured.as_of)
            self.use("featured", f"{told(featured.price)}{', ours' if featured.mine else ''}")
        if follow.target is Target.EXPECTED:
            if expected is None:
                raise Lack("no expected price is known")
            self.fresh("the expected price", expected.as_of)
            self.use("expected", told(expected.amount))
        elif featured is None:
            raise Lack("no featured offer is known")
        if featured is not None and featured.mine:
            return self.hold(follow, lower, upper)
        if follow.target is Target.EXPECTED and expected is not None:
            aim, what = self.same(expected.amount), "the expected price"
        else:
            aim, what = self.beside(follow), "the featured offer"
        moved = aim if not follow.amount else aim + self.meant(follow.amount)
        wanted = nearest(moved * (1 + share(follow.percent)))
        price = between(wanted, lower, upper)
        self.begin(price)
        if price == wanted:
            return f"follows {what}"
        return f"{what} would ask for {self.text(wanted)}, which is {'below' if wanted < price else 'above'} the bound"

    def bounds(self, follow: Follow) -> tuple[int | None, int | None]:
        """Its own bounds and the limits that hold already."""
        lower = _most(self.lowest, self.told_in(follow.minimum, "minimum"))
        upper = _least(self.highest, self.told_in(follow.maximum, "maximum"))
        if lower is not None and upper is not None and lower > upper:
            raise _Contradiction(f"its bounds contradict each other: {self.text(lower)} to {self.text(upper)}")
        return lower, upper

    def hold(self, follow: Follow, lower: int | None, upper: int | None) -> str:
        """The featured offer is ours: what becomes of the price."""
        now, bound, expected = self.current(), upper, self.inputs.expected
        raised = between(ceil(now * (1 + share(follow.raise_percent))), lower, upper)
        if follow.target is Target.EXPECTED and expected is not None:
            # Above it, it would soon be another's.
            upper = floor(self.same(expected.amount))
            raised = between(min(raised, upper), lower, bound)
        if follow.holding is Holding.KEEP or upper is None or raised <= now:
            self.begin(between(now, lower, bound), kept=True)
            return "ours is the featured offer; the price is kept"
        self.begin(raised, kept=True)
        return "ours is the featured offer; the price is raised towards the bound"

    def beside(self, follow: Follow) -> Fraction:
        """What our price would be for buyers to pay as much as for the featured offer, with shipping."""
        featured = self.inputs.featured
        assert featured is not None
        if featured.mine is None:
            raise Lack("nobody told whose the featured offer is")
        theirs = featured.shipping
        if theirs is None and not follow.shipping:
            return self.same(featured.price)
        if theirs is None:
            raise Lack("the shipping of the featured offer is not known")
        if not follow.shipping:
            raise Lack("the shipping of our offer is not known; the rule can tell it")
        ours = self.meant(follow.shipping)
        self.use("shipping", f"{told(theirs)}, ours {self.text(ours)}")
        return self.same(featured.price) + self.same(theirs) - ours

    # ── what changes a price ──

    def limit(self, limit: Limit) -> str:
        """Have limits hold from here on; which those are."""
        lowest, said = self.lowest, []
        for name in ("minimum", "advertised"):
            least = self.told_in(getattr(limit, name), name)
            if least is not None:
                said.append(f"at least {self.text(least)}" + (", as advertised" if name == "advertised" else ""))
                lowest = _most(lowest, least)
        if limit.margin is not None:
            floor_, _ = least_with_margin(self, limit.margin)
            said.append(f"at least {self.text(floor_)} for the margin")
            lowest = _most(lowest, floor_)
        most = self.told_in(limit.maximum, "maximum")
        if most is not None:
            said.append(f"at most {self.text(most)}")
        highest = _least(self.highest, most)
        if lowest is not None and highest is not None and lowest > highest:
            words = f"the limits contradict each other: at least {self.text(lowest)}, at most {self.text(highest)}"
            raise _Contradiction(words)
        self.lowest, self.highest = lowest, highest
        return ", ".join(said)

    def round(self, roundings: tuple[Rounding, ...]) -> tuple[str, str]:
        price = self.so_far()
        one = next((one for one in roundings if one.currency == self.currency), None)
        if one is None:
            return IDLE, f"no rounding is told for {self.currency}"
        price = rounded(price, one, self.unit, self.lowest, self.highest)
        sale = None if self.sale is None else rounded(self.sale.price, one, self.unit, self.lowest, price - 1)
        if self.sale is not None:
            assert sale is not None
            self.sale = _Sale(sale, self.sale.starts_at, self.sale.ends_at)
        self.price = price
        return APPLIED, "no such price is within its limits" if not ends_so(price, one, self.unit) else "rounded"

    def promote(self, promotion: Promotion) -> tuple[str, str]:
        price = self.so_far()
        zone = self.zone
        starts, ends = first_instant(promotion.starts, zone), last_instant(promotion.ends, zone)
        if ends <= self.at:
            return IDLE, "it is over"
        if starts >= ends:
            return IDLE, "the clocks leap over it"
        if self.sale is not None and max(self.sale.starts_at, self.at) <= max(starts, self.at):
            return IDLE, "another sale comes first"
        off = price * share(promotion.percent) if promotion.percent is not None else self.meant(promotion.amount)
        lower = self.inside(nearest(price - off))
        if not 0 < lower < price:
            return (
                IDLE,
                "within its limits a sale would not be lower" if lower > 0 else "nothing would be left of the price",
            )
        self.sale = _Sale(lower, starts, ends)
        return APPLIED, f"a sale from {starts.isoformat()} to {ends.isoformat()}"

    def by_stock(self, stock: StockDriven) -> tuple[str, str]:
        if stock.measure is Measure.UNITS:
            there: Decimal = Decimal(self.units())
        elif self.inputs.cover_days is None:
            raise Lack("how many days the stock lasts is not known")
        else:
            self.fresh("the stock", self.inputs.stock_at)
            there = self.inputs.cover_days
            self.use("cover_days", f"{there:f}")
        step = next((one for one in stock.steps if _fits(one, there)), None)
        if step is None:
            return IDLE, "no step is for so much"
        return self.move(step.percent, (), f"{step.percent:+f} % for so much stock")

    def by_window(self, window: Window) -> tuple[str, str]:
        if window.closed:
            raise _Contradiction("nothing is changed at this time")
        return self.move(window.percent, window.amount, "at this time")

    def move(self, percent: Decimal, amount: Amounts, why: str) -> tuple[str, str]:
        """Change price and sale alike."""
        price = self.so_far()
        if self.kept:
            return IDLE, "the price that there is would be changed again whenever it is computed"
        by = Fraction(0) if not amount else self.meant(amount)
        moved = nearest(price * (1 + share(percent)) + by)
        if moved < 1:
            raise Lack(f"nothing would be left of the price: {self.text(moved)}")
        if self.sale is not None:
            lower = nearest(self.sale.price * (1 + share(percent)) + by)
            self.sale = None if lower < 1 else _Sale(lower, self.sale.starts_at, self.sale.ends_at)
        self.price = moved
        return APPLIED, why

    def so_far(self) -> int:
        if self.price is None:
            raise Lack("no rule before it made a price")
        return self.price

    def current(self) -> int:
        """The regular price that there is."""
        if self.inputs.current is None:
            raise Lack("no price of it is known")
        self.use("current", told(self.inputs.current.regular))
        return nearest(self.same(self.inputs.current.regular))

    def shown(self) -> dict[str, object] | None:
        """The price so far, as it stands in the chain."""
        told = self.told()
        return None if told is None else told.told()

    def told(self) -> Price | None:
        if self.price is None:
            return None
        sale = self.sale
        return Price(
            self.money(self.price),
            None if sale is None else Sale(self.money(sale.price), sale.starts_at, sale.ends_at),
        )

    def computed(self, price: Price | None) -> Computed:
        applied = [str(one["rule"]) for one in self.chain if one["outcome"] == APPLIED]
        if price is not None:
            words = ", ".join(applied)
        else:
            last = next((one for one in reversed(self.chain) if one["outcome"] == STOPPED), None)
            words = "No rule makes a price of it." if last is None else f"{last['rule']}: {last['why']}."
        return Computed(price, tuple(self.chain), words, tuple(self.lacking), self.fees_at)


def _most(one: int | None, other: int | None) -> int | None:
    return max((bound for bound in (one, other) if bound is not None), default=None)


def _least(one: int | None, other: int | None) -> int | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)


def _fits(step: StockStep, there: Decimal) -> bool:
    return (step.at_least is None or there >= step.at_least) and (step.below is None or there < step.below)
