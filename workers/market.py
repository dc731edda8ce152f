"""What channels tell of the market of our listings, asked for before it grows old: fees, featured offers, expected prices.

Their plans are slow (twenty offers in half a minute), so who needs it most is asked about first: what somebody told to be
different, what was never told, what has moved. It is asked in the class of what nobody waits for. Whose market turns out to be
another one has its price worked out anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters import ecb
from adapters.market import ExpectedSeen, FeaturedSeen, FeesQuestion, Market
from adapters.transport import Transport
from adapters.wire import Unclear
from domain.budget import Ask, Priority
from domain.errors import HouseError, MissingRole, Throttled, Unauthorized
from domain.fee import FeesEstimate
from domain.ids import ChannelId, ListingId
from domain.money import Money
from domain.offer import OfferPrice
from domain.product import Rejected
from domain.repricing import Reason
from store import channel, estimate, fx, market, price_due, price_rules, quarantine
from store.market import About, Wanted
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, as_house_error
from workers.deps import Deps
from workers.watch import AWAY, end

log = logging.getLogger(__name__)

LOOK_EVERY_S, BEAT_S = 2.0, 1.0
# A look that finds nothing is followed by a rest of so many times what it took.
LOOK_REST = 20
PATIENCE_S = 45.0
# Waiting for a slot and one call end well within it; else it is asked twice, and nothing is wrong.
LEASE_S = 180.0
AGAIN_FROM_S, AGAIN_TO_S = 300.0, 86_400.0
FX_EVERY_S, FX_AGAIN_S, FX_REST_S = 6 * 3600.0, 60.0, 3600.0
FX_BY = "acorn"


@dataclass(slots=True)
class Markets:
    """Asks about what is due, each channel and each question by itself. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]
    _busy: dict[tuple[ChannelId, About], asyncio.Task[None]] = field(default_factory=dict)
    _not_before: dict[tuple[ChannelId, About], float] = field(default_factory=dict)
    _most: dict[tuple[ChannelId, About], int] = field(default_factory=dict)

    async def run(self) -> None:
        """For ever. A question that waits for its slot holds up no other."""
        try:
            while True:
                for key in self._idle() if await self._wanted() else ():
                    self._busy[key] = asyncio.create_task(self._ask(*key), name=f"market {key[0]} {key[1].value}")
                self.pulse()
                if self._busy:
                    await asyncio.wait(self._busy.values(), timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(BEAT_S)
                for key in [key for key, task in self._busy.items() if task.done()]:
                    self._busy.pop(key).result()
        finally:
            await end(self._busy.values())

    def _idle(self) -> Iterator[tuple[ChannelId, About]]:
        now = time.monotonic()
        for id, port in self.deps.ports.items():
            for about in About if isinstance(port, Market) else ():
                if (id, about) not in self._busy and self._not_before.get((id, about), 0.0) <= now:
                    yield id, about

    async def _wanted(self) -> bool:
        """Whether anybody will use what is told."""
        terms = self.deps.prices
        if terms.ask_market != "with_rules":
            return terms.ask_market == "always"
        async with self.deps.store.begin() as tx:
            return await price_rules.current(tx) is not None

    async def _ask(self, id: ChannelId, about: About) -> None:
        began = time.monotonic()
        if not await self.once(id, about):
            # Where nothing is due, finding that out is most of the work: it grows with the catalog.
            took_s = time.monotonic() - began
            self._not_before[id, about] = time.monotonic() + max(LOOK_EVERY_S, took_s * LOOK_REST)

    async def once(self, id: ChannelId, about: About) -> int:
        """Ask about one batch, if anything is due; how many listings it had.

        One that spoils its batch spoils no other for long: the next batch is half as large, until it is alone and waits.
        """
        port = self.deps.ports[id]
        assert isinstance(port, Market)
        whole = {About.FEES: port.fees_batch, About.FEATURED: port.featured_batch, About.EXPECTED: port.expected_batch}
        limit = min(whole[about], self._most.get((id, about), whole[about]))
        terms = self.deps.prices.fees if about is About.FEES else self.deps.prices.offers
        async with self.deps.store.begin() as tx:
            wanted = await market.due(tx, id, about, terms, limit, LEASE_S)
            # By the clock by which others tell that something is different.
            began_at = (await tx.scalars(select(func.now()))).one()
        if not wanted:
            return 0
        try:
            await self._told(port, about, wanted, began_at)
        except AWAY:
            raise
        except Exception as problem:
            await self._failed(id, about, wanted, problem)
        else:
            self._most[id, about] = min(whole[about], 2 * limit)
        return len(wanted)

    async def _told(self, port: Market, about: About, wanted: Sequence[Wanted], began_at: datetime) -> None:
        ask = Ask(Priority.BACKGROUND, deadline=time.monotonic() + PATIENCE_S)
        place = wanted[0].marketplace
        match about:
            case About.FEES:
                questions = [FeesQuestion(one.channel_sku, one.price, one.fulfilled_by) for one in wanted]
                estimates = await port.fees(place, questions, ask)
                answers = Answers.of(
                    (
                        one.listing,
                        replace(told, fulfilled_by=one.fulfilled_by) if isinstance(told, FeesEstimate) else told,
                    )
                    for one, told in zip(wanted, estimates, strict=True)
                )
            case About.FEATURED:
                items = list(dict.fromkeys(one.external_id for one in wanted))
                seen = dict(zip(items, await port.featured(place, items, ask), strict=True))
                answers = Answers.of((one.listing, seen[one.external_id]) for one in wanted)
            case About.EXPECTED:
                expected = await port.expected(place, [one.channel_sku for one in wanted], ask)
                answers = Answers.of(zip([one.listing for one in wanted], expected, strict=True))
        async with self.deps.store.begin() as tx:
            changed = await answers.keep(tx, self.deps.clock())
            reason = Reason.FEES if about is About.FEES else Reason.OFFER
            await price_due.mark(tx, changed, reason, self.deps.prices.rest)
            await market.hold(tx, about, [one.listing for one in wanted])
            await market.told(tx, about, answers.answered, began_at)
            await market.untold(tx, about, answers.problems, AGAIN_FROM_S, AGAIN_TO_S)
            await quarantine.keep(tx, answers.rejected)

    async def _failed(self, id: ChannelId, about: About, wanted: Sequence[Wanted], problem: Exception) -> None:
        if not isinstance(problem, HouseError):
            log.error("market.broken", extra={"channel": id, "about": about.value}, exc_info=problem)
            problem = as_house_error(problem, sent=False)
        extra = {"channel": id, "about": about.value, "reason": problem.words, "listings": len(wanted)}
        log.warning("market.not_told", extra=extra)
        wait_s = {Throttled: getattr(problem, "retry_after_s", 0.0), MissingRole: ROLE_WAIT_S}.get(type(problem), 30.0)
        self._not_before[id, about] = time.monotonic() + wait_s
        spoiled = not isinstance(problem, Throttled | Unauthorized)
        if spoiled:
            self._most[id, about] = max(1, len(wanted) // 2)
        ids = [one.listing for one in wanted]
        async with self.deps.store.begin() as tx:
            await market.hold(tx, about, ids)
            if spoiled and len(ids) == 1:
                await market.untold(tx, about, {ids[0]: problem.words}, AGAIN_FROM_S, AGAIN_TO_S)
            else:
                await market.free(tx, about, ids, wait_s)
            if isinstance(problem, Unauthorized) and problem.pauses:
                await channel.pause(tx, id, problem.message, self.deps.timing.pause_s)


@dataclass(slots=True)
class Answers:
    """What a batch was answered, sorted out."""

    fees: list[tuple[ListingId, FeesEstimate]] = field(default_factory=list)
    featured: defaultdict[datetime, list[tuple[ListingId, OfferPrice | None, str | None, bool | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    expected: defaultdict[datetime, list[tuple[ListingId, Money | None, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    answered: list[ListingId] = field(default_factory=list)
    problems: dict[ListingId, str] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    @classmethod
    def of(
        cls, told: Iterable[tuple[ListingId, FeesEstimate | FeaturedSeen | ExpectedSeen | HouseError | Rejected]]
    ) -> Answers:
        """Each answer where it belongs."""
        found = cls()
        for id, one in told:
            match one:
                case FeesEstimate():
                    found.fees.append((id, one))
                case FeaturedSeen():
                    found.featured[one.as_of].append((id, one.price, one.seller, one.mine))
                case ExpectedSeen():
                    found.expected[one.as_of].append((id, one.price, one.status))
                case Rejected():
                    found.rejected.append(one)
                    found.problems[id] = one.reason
                    continue
                case HouseError():
                    found.problems[id] = one.words
                    continue
            found.answered.append(id)
        return found

    async def keep(self, tx: AsyncConnection, now: datetime) -> list[ListingId]:
        """Keep all of them; the listings whose prices may be others now."""
        changed = await market.keep_fees(tx, self.fees)
        await estimate.fees_came(tx, {id for id, _ in self.fees})
        for as_of, offers in self.featured.items():
            changed += await market.keep_featured(tx, offers, min(as_of, now))
        for as_of, prices in self.expected.items():
            changed += await market.keep_expected(tx, prices, min(as_of, now))
        return changed


async def follow_rates(deps: Deps, transport: Transport, url: str, pulse: Callable[[], None]) -> None:
    """For ever: fetch the reference rates four times a day, from the address that the settings name."""
    failures = 0
    while True:
        wait_s = FX_EVERY_S
        try:
            await fetch_rates(deps, transport, url)
            failures = 0
        except (HouseError, Unclear) as problem:
            failures += 1
            log.warning("fx.not_fetched", extra={"url": url, "reason": str(problem)})
            wait_s = FX_AGAIN_S + jittered(failures, first_s=FX_AGAIN_S, most_s=FX_REST_S)
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            pulse()
            await asyncio.sleep(BEAT_S)


async def fetch_rates(deps: Deps, transport: Transport, url: str) -> int:
    """Fetch once; how many rates are new. Raises Transient, Unclear, and Invalid for rates that cannot be converted through."""
    told = await ecb.fetch(transport, url)
    async with deps.store.begin() as tx:
        return len(await fx.keep(tx, told, FX_BY))
