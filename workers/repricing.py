"""Prices that the rules make are worked out anew when something that they are made of is another one.

What happens only marks listings (`store/price_due.py`); this loop takes them, works their prices out, leaves out what is so
already and what was asked for before, and asks for the rest at the desk: one operation for what nothing speaks against, one for
what wants a second person. Taking, working out, and asking are one transaction under the channel's lock of prices: whoever
dies anywhere leaves the listings waiting, and nothing is asked for twice.

At channels that keep no times by themselves a sale begins and ends by an item of its own, sent at that instant and never before.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.market import Market
from adapters.prices import Prices
from domain.ids import ChannelId, ListingId
from domain.money import Money
from domain.operation import OperationStatus
from domain.price import JudgedWish, PriceWish
from domain.price_chain import next_turn
from domain.price_rules import Measure, PriceRules
from domain.repricing import Became, Reason, Repriced
from store import market, price_clock, price_desk, price_due, price_facts, price_rules
from store.price_clock import Hand
from store.price_due import Due
from workers.deps import Deps
from workers.watch import AWAY

log = logging.getLogger(__name__)

LOOK_EVERY_S, TIME_EVERY_S, STOCK_EVERY_S = 1.0, 2.0, 15.0
# Instants count so long after the database's clock has passed them: to whoever works out and sends, on a clock of its own that
# is not further behind, they have come.
BEHIND = timedelta(seconds=2)
BATCH = 500
PUT_OFF = timedelta(hours=1)
BY = "acorn"

WorkOut = Callable[..., Awaitable[Sequence[price_rules.Made]]]


@dataclass(slots=True)
class Repricing:
    """Looks for what time, stock and new rules do to prices, and works out what waits. `pulse` is called after each step.
    `asked` counts the operations that this process has made."""

    deps: Deps
    pulse: Callable[[], None]
    work_out: WorkOut = price_rules.work_out
    asked: int = 0
    _most: dict[ChannelId, int] = field(default_factory=dict)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.mark()
            self.pulse()
            if not await self.once():
                await asyncio.sleep(LOOK_EVERY_S)

    async def mark(self) -> None:
        """Mark what is due by the clock, by stock, or because other rules hold; each hand by one worker at a time."""
        await self._looked(Hand.TIME, timedelta(seconds=TIME_EVERY_S), self._time)
        await self._looked(Hand.STOCK, timedelta(seconds=STOCK_EVERY_S), self._stock)
        await self._looked(Hand.SCHEDULE, self.deps.prices.every, self._schedule)
        await self._looked(Hand.RULES, timedelta(0), self._rules)

    async def once(self) -> int:
        """Work out a batch of each channel that has something due; how many listings those were."""
        async with self.deps.store.begin() as tx:
            channels = await price_due.waiting(tx, self.deps.channels.keys())
        done = 0
        for id in channels:
            done += await self.batch(id)
            self.pulse()
        return done

    async def batch(self, channel: ChannelId) -> int:
        """Work out what is due of one channel, at most BATCH listings; 0 too where somebody else is at its prices.

        One that cannot be worked out spoils no other: the next batch is half as large, until it is alone and is put off.
        """
        most, due = self._most.get(channel, BATCH), list[Due]()
        try:
            async with self.deps.store.begin() as tx:
                # Before the rows, as everybody who asks for prices.
                if not await price_desk.try_lock(tx, channel):
                    return 0
                due = await price_due.take(tx, channel, most)
                if due:
                    await Round(self.deps, channel, self.work_out).work(tx, due, self._ask)
        except AWAY:
            raise
        except Exception as problem:
            if not due:
                raise
            log.exception("prices.not_worked_out", extra={"channel": channel, "listings": len(due)})
            self._most[channel] = max(1, len(due) // 2)
            if len(due) == 1:
                await self._put_off(due[0].listing, type(problem).__name__)
            return len(due)
        self._most[channel] = min(BATCH, 2 * most)
        return len(due)

    async def _put_off(self, id: ListingId, problem: str) -> None:
        words = f"It could not be worked out ({problem}); it is tried again in an hour."
        async with self.deps.store.begin() as tx:
            await price_due.put_off(tx, id, PUT_OFF)
            await price_due.note(tx, [Repriced(id, self.deps.clock(), Became.NONE, words)])

    async def _ask(self, tx: AsyncConnection, wishes: Sequence[PriceWish], digest: str) -> OperationStatus:
        made, _ = await price_desk.keep(tx, price_desk.Request(BY, digest, self.deps.clock()), wishes)
        self.asked += 1
        extra = {"operation": made.id, "rows": len(wishes), "status": made.status.value}
        log.info("prices.asked", extra=extra)
        return made.status

    async def _looked(
        self, hand: Hand, every: timedelta, look: Callable[[AsyncConnection, Look], Awaitable[int | None]]
    ) -> None:
        async with self.deps.store.begin() as tx:
            read = await price_clock.read(tx, hand)
            if read is None:
                return
            after, before, now = read
            if now - after < every:
                return
            version = await look(tx, Look(after, now, before))
            # Where only the version is remembered, a look that found the same leaves no trace.
            if hand is not Hand.RULES or version != before:
                await price_clock.turn(tx, hand, now, version)

    async def _time(self, tx: AsyncConnection, look: Look) -> None:
        """Sales at channels that keep no times, layers of cost, and what begins or ends in the rules."""
        after, now = look.after - BEHIND, look.now - BEHIND
        meant = {Reason.SALE: await price_clock.turned_sales(tx, self._shops(), after, now)}
        if after.date() != now.date():
            meant[Reason.COST] = await price_clock.new_costs(tx, after, now)
        rules = await price_rules.current(tx)
        turned = [] if rules is None else [id for id in self.deps.channels if self._turns(rules, id, after, now)]
        await price_due.mark_turned(tx, meant, turned)

    def _turns(self, rules: PriceRules, id: ChannelId, after: datetime, now: datetime) -> bool:
        one = self.deps.channels[id]
        zones = {one.zone(code) for code in one.marketplaces or (None,)}
        turns = [next_turn(rules, zone, after) for zone in sorted(zones, key=str)]
        return any(at is not None and at <= now for at in turns)

    async def _stock(self, tx: AsyncConnection, look: Look) -> None:
        rules = await price_rules.current(tx)
        edges = set() if rules is None else stock_edges(rules)
        await price_due.mark(tx, await price_clock.crossed(tx, edges), Reason.STOCK, self.deps.prices.rest)

    async def _schedule(self, tx: AsyncConnection, look: Look) -> None:
        if await price_rules.current(tx) is not None:
            await price_due.mark_channels(tx, self.deps.channels.keys(), Reason.SCHEDULE)

    async def _rules(self, tx: AsyncConnection, look: Look) -> int:
        rules = await price_rules.newest(tx)
        if rules.rules and rules.version != look.version:
            await price_due.mark_channels(tx, self.deps.channels.keys(), Reason.RULES)
        return rules.version

    def _shops(self) -> list[ChannelId]:
        """Those whose sales begin and end because we say so."""
        return [id for id, port in self.deps.ports.items() if isinstance(port, Prices) and not port.keeps_sales]


@dataclass(frozen=True, slots=True)
class Look:
    """A look at what has happened since `after`; `version` is what the last one remembered."""

    after: datetime
    now: datetime
    version: int | None


Ask = Callable[[AsyncConnection, Sequence[PriceWish], str], Awaitable[OperationStatus]]


@dataclass(slots=True)
class Round:
    """One batch of one channel, in one transaction."""

    deps: Deps
    channel: ChannelId
    work_out: WorkOut
    came: dict[ListingId, Repriced] = field(default_factory=dict)

    async def work(self, tx: AsyncConnection, due: Sequence[Due], ask: Ask) -> None:
        """Work out what is due, ask for what is new, and note what came of each."""
        now, ids = self.deps.clock(), [one.listing for one in due]
        known = await price_due.last(tx, ids)
        await self._by_rules(tx, ids, known, now, ask)
        await self._sales(tx, [one.listing for one in due if Reason.SALE in one.reasons], now, ask)
        await price_due.note(tx, list(self.came.values()))

    async def _by_rules(
        self,
        tx: AsyncConnection,
        ids: Sequence[ListingId],
        known: Mapping[ListingId, Repriced],
        now: datetime,
        ask: Ask,
    ) -> None:
        """Ask for the prices that the rules make."""
        rules = await price_rules.current(tx)
        if rules is None:
            return
        made = await self.work_out(tx, rules, ids, self.deps.channels, now)
        await market.want_fees(tx, _fees_wanted(made, self.deps))
        for one in made:
            became = Became.NONE if one.wish is None else Became.IDLE
            units = one.inputs.available
            self.came[one.listing] = Repriced(one.listing, now, became, one.computed.words, units=units)
        judged = await price_desk.weigh(tx, [one.wish for one in made if one.wish is not None and one.changes], now)
        fresh = [row for row in judged.rows if self._fresh(row, known.get(row.wish.listing))]
        held = [row for row in fresh if row.held]
        for rows in ([row for row in fresh if not row.held], held):
            if rows:
                status = await ask(tx, [row.wish for row in rows], _digest(map(_fingerprint, rows)))
                self._note(rows, status, now)

    def _fresh(self, row: JudgedWish, last: Repriced | None) -> bool:
        """Is it to be asked for? Not what was asked for by us, made from the same, with nobody asking for anything else since."""
        if last is None or last.overtaken or last.fingerprint != _fingerprint(row):
            return True
        one = self.came[row.wish.listing]
        self.came[one.listing] = replace(one, became=last.became, words=last.words, fingerprint=last.fingerprint)
        return False

    def _note(self, rows: Sequence[JudgedWish], status: OperationStatus, now: datetime) -> None:
        waits = status is OperationStatus.AWAITING_APPROVAL
        for row in rows:
            id = row.wish.listing
            became = Became.REFUSED if row.refused else Became.HELD if waits else Became.ASKED
            words = " ".join(hit.words for hit in row.hits) or self.came[id].words
            self.came[id] = replace(
                self.came[id], became=became, words=words, fingerprint=_fingerprint(row), asked_at=now
            )

    async def _sales(self, tx: AsyncConnection, ids: Collection[ListingId], now: datetime, ask: Ask) -> None:
        """Have the channel told again what is wanted, since it shows only what holds; what new prices by rules are on their way
        for needs no more."""
        wishes = await price_facts.sale_wishes(tx, ids, now)
        if wishes:
            await ask(tx, wishes, _digest(f"{one.listing} {one.price.told()} {now.isoformat()}" for one in wishes))


def stock_edges(rules: PriceRules) -> set[int]:
    """The counts of units at which rules begin to do something else; those by days of cover are met by the schedule."""
    edges: set[int] = set()
    for rule in rules.rules:
        edges |= {one for one in (rule.match.stock_below, rule.match.stock_from) if one is not None}
        if rule.stock is not None and rule.stock.measure is Measure.UNITS:
            for step in rule.stock.steps:
                edges |= {ceil(one) for one in (step.at_least, step.below) if one is not None}
    return edges


def _fees_wanted(made: Sequence[price_rules.Made], deps: Deps) -> dict[ListingId, Money]:
    """Prices whose fees the rules lack, where the channel tells fees."""
    return {
        one.listing: one.computed.fees_at
        for one in made
        if one.computed.fees_at is not None and isinstance(deps.ports.get(one.channel), Market)
    }


def _fingerprint(row: JudgedWish) -> str:
    """What was made from what, and how it was judged."""
    told = [
        row.wish.rules_version,
        row.wish.price.told(),
        row.facts.told(),
        sorted([hit.guard, hit.action.value] for hit in row.hits),
    ]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
