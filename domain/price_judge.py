"""What the guards say of prices: pure functions of a set, the wishes, and what is known of their listings.

They are asked when a change is kept, again when it is approved, and a last time just before it leaves the house: no path to a
channel passes them by. All guards that fit a listing hold; what a price must be to make sense at all (its currency, above 0, a
sale below the regular price) is no data, and holds without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import cached_property

from domain.money import Money, minor_digits
from domain.price import Action, Hit, JudgedWish, Judgment, Origin, Price, PriceFacts, PriceWish
from domain.price_approval import second_person
from domain.price_guard import Guard, GuardKind, PriceGuards

NEAR = Decimal("0.25")
"""How far from its suspect an amount may lie that is taken for one with its point moved, or for one in another currency."""
FAR = Decimal(3)
"""Currencies of which one is worth less than so many of the other cannot be told apart by amounts: that is a step."""
MOST_OF_COST = Decimal(10)
"""So many times its cost an amount of which nothing else is known may be before it is suspect."""


def judge(
    guards: PriceGuards, wishes: Sequence[tuple[PriceWish, PriceFacts]], at: datetime, *, single: bool = False
) -> Judgment:
    """What the guards say of each wish and of all together. `single`: one that is about to be sent, of a request that was judged
    as a whole before."""
    rows = tuple(JudgedWish(wish, facts, _hits(guards, wish, facts, at)) for wish, facts in wishes)
    return Judgment(rows, () if single else judge_whole(guards, rows, at))


def judge_whole(guards: PriceGuards, rows: Sequence[JudgedWish], at: datetime) -> tuple[Hit, ...]:
    """What the guards say of all rows of a request together."""
    return (*_of_all(guards, rows, at), *second_person(guards.approval, rows))


def _hits(guards: PriceGuards, wish: PriceWish, facts: PriceFacts, at: datetime) -> tuple[Hit, ...]:
    """What is no price at all is compared with nothing."""
    broken = tuple(hit for hit in (_wrong_currency(wish, facts), *_senseless(wish.price)) if hit is not None)
    if broken:
        return broken
    looked = _Looked(wish, facts, at)
    return tuple(hit for one in guards.of(wish, facts) if (hit := looked.hit(one)) is not None)


def _wrong_currency(wish: PriceWish, facts: PriceFacts) -> Hit | None:
    basis = facts.basis
    currency = facts.currency or (None if basis is None else basis.regular.currency)
    meant = wish.price.regular.currency
    if currency is None or meant == currency:
        return None
    words = f"{wish.key} is sold in {currency}, and {meant} was meant. Ask again in {currency}."
    return Hit("CURRENCY", Action.REFUSE, words)


def _senseless(price: Price) -> Iterator[Hit]:
    if price.lowest.amount <= 0:
        yield Hit("FLOOR", Action.REFUSE, "A price lies above 0.")
    currency, sale = price.regular.currency, price.sale
    digits = minor_digits(currency)
    for one in (price.regular, *(() if sale is None else (sale.price,))):
        if one.amount != round(one.amount, digits):
            words = f"{one.amount:f} has more decimals than {currency} ({digits}). Round it."
            yield Hit("DIGITS", Action.REFUSE, words)
    if sale is None:
        return
    if sale.price.currency != currency:
        yield Hit("CURRENCY", Action.REFUSE, f"The sale is in {sale.price.currency}, the regular price in {currency}.")
    elif sale.price.amount >= price.regular.amount:
        words = f"A sale takes less than the regular price: {_told(sale.price)} is not below {_told(price.regular)}."
        yield Hit("SALE", Action.REFUSE, words)
    if sale.starts_at is not None and sale.ends_at is not None and sale.ends_at <= sale.starts_at:
        yield Hit("SALE", Action.REFUSE, "The sale would end before it begins.")


# ── one wish ──


@dataclass  # without slots: what several guards ask is looked up once
class _Looked:
    """A wish that makes sense, as the guards look at it."""

    wish: PriceWish
    facts: PriceFacts
    at: datetime

    def hit(self, guard: Guard) -> Hit | None:
        """How it runs into the guard; None where it does not."""
        if self.judged_before:
            # What a guard of these holds was held when it was asked for; nobody is waited for again.
            found = self._lasting(guard)
            return found if found is not None and found.action is Action.REFUSE else None
        match guard.kind:
            case GuardKind.FLOOR | GuardKind.MAP | GuardKind.CEILING:
                return self._lasting(guard)
        match guard.kind:
            case GuardKind.STEP:
                return None if self.goes_back else self._step(guard)
            case GuardKind.DAY:
                return None if self.goes_back else self._day(guard)
            case GuardKind.SHIFT:
                return self._shift(guard)
            case GuardKind.UNKNOWN:
                return self._unknown(guard)
        return None

    def _lasting(self, guard: Guard) -> Hit | None:
        """How it runs into what holds at all times."""
        match guard.kind:
            case GuardKind.FLOOR | GuardKind.MAP:
                return self._floor(guard)
            case GuardKind.CEILING:
                return self._ceiling(guard)
        return None

    @property
    def judged_before(self) -> bool:
        """A sale that begins or ends at a shop is a part of the price that was judged when it was asked for."""
        return self.wish.origin is Origin.SALE and self.wish.price in (self.facts.wanted, self.facts.intended)

    @property
    def goes_back(self) -> bool:
        """What was live before may come back in one step, however far away it is."""
        return self.wish.origin is Origin.REVERT

    @cached_property
    def shown(self) -> list[Price]:
        """What buyers have been shown, now and within the last day by our own hand; or else what was asked for last."""
        facts = self.facts
        seen = [one for one in (facts.live, facts.verified) if self._comparable(one)]
        last = seen or [one for one in (facts.wanted,) if self._comparable(one)]
        return [one for one in last if one is not None]

    def _comparable(self, price: Price | None) -> bool:
        if price is None or price.regular.currency != self._currency or price.regular.amount <= 0:
            return False
        return price.sale is None or price.sale.price.amount > 0

    @cached_property
    def _currency(self) -> str:
        return self.wish.price.regular.currency

    @cached_property
    def elsewhere(self) -> list[Money]:
        """What other listings of the SKU take, in this one's currency, as far as that is known."""
        if not self.facts.elsewhere:
            return []
        worth = {**self.facts.rates, self._currency: Decimal(1)}
        return [
            Money(one.amount * worth[one.currency], self._currency)
            for one in self.facts.elsewhere
            if one.currency in worth and one.amount > 0
        ]

    @cached_property
    def moves(self) -> list[tuple[Decimal, Decimal]]:
        """By how many percent it rises and falls, from each price that it may be compared with."""
        before = self.shown or [Price(one) for one in self.elsewhere]
        return [_move(self.wish.price, one, self.at) for one in before]

    def beyond(self, up: Decimal | None, down: Decimal | None) -> tuple[Decimal, Decimal] | None:
        """The least of its moves, if even that goes too far."""
        moves = self.moves
        if not moves or not all(_too_far(one, up, down) for one in moves):
            return None
        return min(moves, key=max)

    def _floor(self, guard: Guard) -> Hit | None:
        price, facts = self.wish.price, self.facts
        # A sale that is over is paid by nobody: a shop that is told of its end must not be kept at it.
        lowest = min((price.at(one) for one in _instants(self.at, price)), key=lambda one: one.amount)
        if guard.amount is not None:
            least, why = guard.amount, "that was set"
        elif facts.cost is None or facts.cost.currency != self._currency:
            return None
        else:
            margin = guard.margin or Decimal(0)
            rate = f" (by {facts.cost_rate})" if facts.cost_rate else ""
            least = facts.cost.amount * (100 + margin) / 100
            why = f"the cost of {_told(facts.cost)}{rate}" + (f" and {margin:f} %" if margin else "")
            if guard.fees:
                fees = facts.fees(lowest)
                if fees is not None:
                    least, why = least + fees.amount, f"{why} and fees of {_told(fees)}, which rise with the price"
                elif lowest.amount >= least:
                    words = "Nobody has told the fees yet."
                    return _hit(guard, words, "Wait for them, or have it approved.", hold=True)
        if lowest.amount >= least:
            return None
        bound = _told(Money(least, self._currency), ROUND_CEILING)
        return _hit(guard, f"{_told(lowest)} is below {bound}, {why}.", f"Ask for {bound} or more.")

    def _ceiling(self, guard: Guard) -> Hit | None:
        highest, elsewhere = self.wish.price.highest, self.elsewhere
        if guard.amount is not None:
            most, why = guard.amount, "that was set"
        elif guard.factor is None or not elsewhere:
            return None
        else:
            top = max(elsewhere, key=lambda one: one.amount)
            most, why = top.amount * guard.factor, f"{guard.factor:f} times the {_told(top)} of another listing"
        if highest.amount <= most:
            return None
        bound = _told(Money(most, self._currency), ROUND_FLOOR)
        return _hit(guard, f"{_told(highest)} is above {bound}, {why}.", f"Ask for {bound} or less.")

    def _step(self, guard: Guard) -> Hit | None:
        move = self.beyond(guard.up, guard.down)
        what = "what is shown" if self.shown else "what its other listings take"
        return None if move is None else _hit(guard, _moved(move, guard, what), _SECOND)

    def _day(self, guard: Guard) -> Hit | None:
        paid, regular = self.facts.day_ago, self.facts.regular_day_ago
        if paid is None or paid.currency != self._currency or paid.amount <= 0:
            return None
        top = max(paid.amount, paid.amount if regular is None else regular.amount)
        price = self.wish.price
        lowest = min(price.at(one).amount for one in _instants(self.at, price))
        move = (_percent(price.highest.amount / top - 1), _percent(1 - lowest / paid.amount))
        if not _too_far(move, guard.up, guard.down):
            return None
        return _hit(guard, _moved(move, guard, "what buyers paid 24 hours ago"), _SECOND)

    def _shift(self, guard: Guard) -> Hit | None:
        words = next((found for one in _amounts(self.wish.price) if (found := self._suspicion(one)) is not None), None)
        if words is not None:
            return _hit(guard, words, "Ask for what was meant, or in small steps.", hold=self.goes_back)
        if self.shown or self.elsewhere or self._cost is None:
            return None
        highest = self.wish.price.highest
        if highest.amount <= MOST_OF_COST * self._cost.amount:
            return None
        words = f"{_told(highest)} is over {MOST_OF_COST} times the cost of {_told(self._cost)}, and no more is known."
        return _hit(guard, words, _SECOND, hold=True)

    def _suspicion(self, amount: Decimal) -> str | None:
        """Of all that it may be compared with, nothing lies near, and from each it is away as a mistake would be."""
        elsewhere = self.elsewhere
        before = [one.regular for one in self.shown] or elsewhere
        paid = [one for one in (self.facts.day_ago,) if one is not None and one.currency == self._currency]
        if any(_near(amount, one.amount) for one in (*before, *paid, *elsewhere)):
            return None
        found = [self._mistake(amount, one) for one in before]
        return found[0] if found and all(found) else None

    def _mistake(self, amount: Decimal, before: Money) -> str | None:
        ratio = amount / before.amount
        told = _told(Money(amount, self._currency))
        for power in (1, 2, 3):
            for times, name in ((Decimal(10) ** power, "times"), (Decimal(10) ** -power, "of")):
                if _near(ratio, times):
                    part = f"{10**power} times" if name == "times" else f"a {10**power}th of"
                    return f"{told} is about {part} {_told(before)}: its point has moved."
        if 1 / FAR < ratio < FAR:
            return None
        for currency, rate in sorted(self.facts.rates.items()):
            if _near(amount * rate, before.amount):
                return f"{told} would be about {_told(before)} if it were {currency}: another currency's amount."
        same = next(
            (one for one in self.facts.elsewhere if one.currency != self._currency and one.amount == amount), None
        )
        return None if same is None else f"{told} is {_told(same)}, what another listing takes, in the wrong currency."

    def _unknown(self, guard: Guard) -> Hit | None:
        if self.shown or self.elsewhere or self._cost is not None:
            return None
        return _hit(guard, "Neither a price nor a cost of it is known, so nothing can be compared.", _SECOND)

    @property
    def _cost(self) -> Money | None:
        cost = self.facts.cost
        return cost if cost is not None and cost.currency == self._currency and cost.amount > 0 else None


_SECOND = "Somebody else may approve it."


def _hit(guard: Guard, words: str, way_out: str, *, hold: bool = False) -> Hit:
    action = Action.HOLD if hold else guard.action
    return Hit(guard.kind.value, action, f"{words} {way_out} (guard {guard.name!r})")


def _moved(move: tuple[Decimal, Decimal], guard: Guard, what: str) -> str:
    rise, fall = move
    if guard.up is not None and rise > guard.up:
        return f"{rise:.1f} % above {what}; at most {guard.up:f} % is."
    return f"{fall:.1f} % below {what}; at most {guard.down:f} % is."


def _too_far(move: tuple[Decimal, Decimal], up: Decimal | None, down: Decimal | None) -> bool:
    rise, fall = move
    return (up is not None and rise > up) or (down is not None and fall > down)


def _move(new: Price, old: Price, at: datetime) -> tuple[Decimal, Decimal]:
    """By how many percent it rises and falls."""
    if new.sale is None and old.sale is None:
        change = _percent(new.regular.amount / old.regular.amount - 1)
        return change, -change
    return _rise(new, old, at), _fall(new, old, at)


def _rise(new: Price, old: Price, at: datetime) -> Decimal:
    """By how many percent the most of the one lies above the most that the other may take from then on."""
    # A sale may be told that takes more than the regular price: buyers are shown it.
    top = max(old.regular.amount, *(old.at(one).amount for one in _instants(at, old)))
    return _percent(new.highest.amount / top - 1)


def _fall(new: Price, old: Price, at: datetime) -> Decimal:
    """By how many percent buyers pay less, at the instant from then on at which that is most."""
    return max(_percent(1 - new.at(one).amount / old.at(one).amount) for one in _instants(at, new, old))


def _instants(at: datetime, *prices: Price) -> set[datetime]:
    """That instant, and those after it at which one of the prices changes by itself."""
    found = {at}
    for one in prices:
        if one.sale is not None:
            found |= {edge for edge in (one.sale.starts_at, one.sale.ends_at) if edge is not None and edge > at}
    return found


def _percent(part: Decimal) -> Decimal:
    return part * 100


def _near(amount: Decimal, other: Decimal) -> bool:
    return abs(amount - other) <= NEAR * other


def _amounts(price: Price) -> list[Decimal]:
    return [price.regular.amount] if price.sale is None else [price.regular.amount, price.sale.price.amount]


def _told(money: Money, rounding: str = ROUND_HALF_UP) -> str:
    unit = Decimal(1).scaleb(-minor_digits(money.currency))
    return f"{money.amount.quantize(unit, rounding=rounding):f} {money.currency}"


# ── all of a request ──


def _of_all(guards: PriceGuards, rows: Sequence[JudgedWish], at: datetime) -> tuple[Hit, ...]:
    stops = [one for one in guards.guards if one.kind is GuardKind.STOP_LOSS]
    return tuple(hit for one in stops if (hit := _stop(one, rows, at)) is not None)


def _stop(guard: Guard, rows: Sequence[JudgedWish], at: datetime) -> Hit | None:
    fitting = [one for one in rows if guard.fits(one.wish, one.facts)]
    step, share = guard.step or Decimal(0), guard.share or Decimal(0)
    moved = sum(_moves(one, step, at) for one in fitting)
    if len(fitting) < (guard.rows or 0) or moved * 100 <= share * len(fitting):
        return None
    words = f"{moved} of {len(fitting)} prices move by more than {step:f} %; at most {share:f} % of them may."
    return _hit(guard, words, _SECOND)


def _moves(row: JudgedWish, step: Decimal, at: datetime) -> bool:
    looked = _Looked(row.wish, row.facts, at)
    senseless = row.wish.price.lowest.amount <= 0
    free = looked.goes_back or looked.judged_before
    return senseless or (not free and looked.beyond(step, step) is not None)
