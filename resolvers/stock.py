"""Stock of many SKUs at once: what is known where it is young enough, one live call per batch where it is not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from adapters.port import StockKey
from domain import policy
from domain.budget import Ask
from domain.channel import Location
from domain.errors import HouseError, Invalid, TooStale
from domain.freshness import Freshness, OnStale, graded, worst, young_enough
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.policy import Facts, Number, Place
from domain.stock import Level, Reading, Stock, holds, told_at
from resolvers.live import Due, Source
from resolvers.shelf import Shelf
from resolvers.stock_answer import StockAnswer
from store import facts as facts_rows
from store import product, stock
from store.product import Offering
from store.session import ONE_SNAPSHOT

if TYPE_CHECKING:
    from resolvers.context import Context

MOST_SKUS = 250
LONGEST_SKU = 255  # characters, as long as any platform has them
PATIENCE_S = 4.0  # how long a caller who could have an older answer waits for a live one
REMEMBERED = timedelta(days=400)

TOLD_AGAIN = timedelta(seconds=1)  # how long an answer is told again, with the `as_of` that it has

Told: TypeAlias = list[Stock | HouseError | None]

EVERYTHING = "*"  # the subject of a change that may concern any SKU


@dataclass(slots=True)
class _Need:
    """One place that should hold one SKU: which source tells, what was told last, what this request learned."""

    source: Source
    location: Location
    key: StockKey
    stored: Reading | None
    live: Reading | None = None
    failure: HouseError | None = None

    def settle(self, answer: list[Reading] | HouseError | None) -> None:
        """Take what the source said of this place."""
        if isinstance(answer, HouseError):
            self.failure = answer
        elif answer is not None:
            self.live = next((one for one in answer if one.location == self.location.code), None)


def asked(
    context: Context,
    path: Callable[[], list[str | int]],
    skus: Sequence[Sku],
    max_age: timedelta | None,
    on_stale: OnStale,
    as_of: datetime | None,
) -> Told | Awaitable[Told]:
    """What an operation is told, in the order asked: None for an unknown SKU, TooStale for what is older than `on_stale` takes.
    At once where all was answered a moment ago.

    Of what is told though it was never read, the reasons go to the context's problems; `path` is the field's own. Raises Invalid.
    """
    answers = at_hand(context.shelf, skus, max_age) if as_of is None else None
    if answers is None:
        return _asked(context, path, skus, max_age, on_stale, as_of)
    if context.basis is None and on_stale is OnStale.ANSWER:  # as nearly always, and none is unknown
        return [answer.stock for answer in answers]
    return _told(context, skus, answers, max_age, on_stale)


async def _asked(
    context: Context,
    path: Callable[[], list[str | int]],
    skus: Sequence[Sku],
    max_age: timedelta | None,
    on_stale: OnStale,
    as_of: datetime | None,
) -> Told:
    shelf = context.shelf
    answers = await (by_skus(shelf, context.ask, skus, max_age) if as_of is None else at_instant(shelf, skus, as_of))
    if on_stale is OnStale.ANSWER:
        for index, answer in enumerate(answers):
            if answer is not None and answer.unknown:
                context.problems.extend(([*path(), index], problem) for problem in answer.unknown)
    return _told(context, skus, answers, max_age, on_stale)


def _told(
    context: Context,
    skus: Sequence[Sku],
    answers: Sequence[StockAnswer | None],
    max_age: timedelta | None,
    on_stale: OnStale,
) -> Told:
    if context.basis is not None:
        context.basis.rest_on(skus, answers, context.shelf.stock_max_age if max_age is None else max_age)
    if on_stale is OnStale.ANSWER:
        return [None if answer is None else answer.stock for answer in answers]
    return [fresh_enough(answer, on_stale) for answer in answers]


async def by_skus(
    shelf: Shelf, ask: Ask, skus: Sequence[Sku], max_age: timedelta | None = None
) -> list[StockAnswer | None]:
    """One answer per SKU, in the order asked; None for an unknown SKU. At most 250 SKUs of 255 characters, else Invalid."""
    check_skus(skus)
    wished = shelf.stock_max_age if max_age is None else max_age
    told = await shelf.stock_cache.answers_soon(wished, shelf.clock)
    answers = {sku: told[sku] for sku in skus if sku in told}
    if len(answers) < len(skus) and (unanswered := [sku for sku in skus if sku not in answers]):
        answers |= await _answered(shelf, ask, unanswered, wished)
    return [answers.get(sku) for sku in skus]


def at_hand(shelf: Shelf, skus: Sequence[Sku], max_age: timedelta | None = None) -> list[StockAnswer] | None:
    """The same where all was answered a moment ago and nothing stood in its way; None where `by_skus` is to be asked."""
    told = shelf.stock_cache.answers(shelf.stock_max_age if max_age is None else max_age, shelf.clock)
    if told is None or len(skus) > MOST_SKUS:
        return None
    try:
        return [*map(told.__getitem__, skus)]
    except KeyError:
        return None


async def _answered(shelf: Shelf, ask: Ask, skus: Sequence[Sku], wished: timedelta) -> dict[Sku, StockAnswer]:
    """Of SKUs that there are, from what is known; an answer that needed nobody is kept for those who ask next."""
    began = shelf.clock()
    known = await facts(shelf, skus)
    now = shelf.clock()
    needs: Mapping[Sku, list[_Need]] = {}
    old = {sku for sku, one in known.items() if _too_old(one, now, wished)}
    if old:
        needs = await _refresh(shelf, ask, {part.sku for sku in old for part in _parts(known[sku])}, began, now, wished)
        known |= await _told_again(shelf, sorted(old), needs)
        now = shelf.clock()
    answers = {sku: _answer(one, needs, now, wished) for sku, one in known.items()}
    for sku, answer in answers.items():
        if sku not in old:
            until = now + min(TOLD_AGAIN, wished)
            shelf.stock_cache.keep(known[sku], wished, answer, now, min(until, answer.holds_until(wished) or until))
    return answers


async def at_instant(shelf: Shelf, skus: Sequence[Sku], at: datetime) -> list[StockAnswer | None]:
    """As it was known at a past instant, at most 400 days ago; None for an unknown SKU. Raises Invalid."""
    check_skus(skus)
    known = await facts_at(shelf, skus, at)
    return [_answer(known[sku], {}, at, None, at=at) if sku in known else None for sku in skus]


async def facts(shelf: Shelf, skus: Sequence[Sku], *, anew: bool = False, with_shown: bool = False) -> dict[Sku, Facts]:
    """What is known of the SKUs that there are: from memory where nothing has changed, from the rows where `anew` says so.

    `with_shown` also what channels show. That moves without an event, and so it is always read from the rows.
    """

    async def read(wanted: Sequence[Sku]) -> Mapping[Sku, Facts]:
        async with shelf.store.begin() as tx:
            # Between two looks a hold may become an allocation: it must not be seen twice, nor not at all.
            await tx.execute(ONE_SNAPSHOT)
            return await facts_rows.facts(
                tx,
                wanted,
                locations=shelf.locations,
                now=shelf.clock(),
                default_safety_stock=shelf.safety_stock,
                max_age=shelf.stock_max_age,
                with_sales=True,
                with_shown=with_shown,
            )

    return await shelf.stock_cache.facts(skus, read, anew=anew or with_shown)


def told(shelf: Shelf, known: Facts, now: datetime) -> Stock:
    """The stock by what is known, of stored readings as they are."""
    return _answer(known, {}, now, shelf.stock_max_age).stock


async def told_now(shelf: Shelf, skus: Sequence[Sku]) -> dict[Sku, Facts]:
    """What is known of the SKUs, graded and dated for this moment."""
    known, now = await facts(shelf, skus), shelf.clock()
    return {sku: _graded(one, {}, now, shelf.stock_max_age) for sku, one in known.items()}


async def facts_at(shelf: Shelf, skus: Sequence[Sku], at: datetime) -> dict[Sku, Facts]:
    """What was known at a past instant, of SKUs that there are. Raises Invalid for one that lies ahead or too far back."""
    now = shelf.clock()
    if not now - REMEMBERED <= at <= now:
        raise Invalid(
            f"`asOf` can be any instant of the last {REMEMBERED.days} days; leave it out for now.", field=("asOf",)
        )
    async with shelf.store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        return await facts_rows.facts_at(
            tx,
            skus,
            at,
            locations=shelf.locations,
            default_safety_stock=shelf.safety_stock,
            max_age=shelf.stock_max_age,
        )


def fresh_enough(answer: StockAnswer | None, on_stale: OnStale) -> Stock | HouseError | None:
    """The stock, or TooStale where the caller wants no older answer; None stays None."""
    if answer is None:
        return None
    if on_stale is OnStale.ANSWER or not answer.old:
        return answer.stock
    reasons = sorted({failure.message for failure in answer.unknown + answer.aged})
    told = "never" if answer.stock.as_of is None else f"at {answer.stock.as_of.isoformat().replace('+00:00', 'Z')}"
    return TooStale(f"Stock of {answer.stock.sku} was last told {told}. {' '.join(reasons)}".strip())


def check_skus(skus: Collection[Sku]) -> None:
    """Raises Invalid for more than can be asked at once, and for what is too long to be a SKU."""
    if len(skus) > MOST_SKUS:
        raise Invalid(f"At most {MOST_SKUS} SKUs can be asked at once; these are {len(skus)}. Ask in parts.")
    if any(len(sku) > LONGEST_SKU for sku in skus):
        raise Invalid(f"A SKU has at most {LONGEST_SKU} characters.")


def _parts(known: Facts) -> Iterator[Facts]:
    """The SKU's own facts, and those of a kit's components."""
    yield known
    for part, _ in known.components:
        yield part


def _places(known: Facts) -> list[Place]:
    if not known.components:
        return known.places
    return [place for part in _parts(known) for place in part.places]


def _too_old(known: Facts, now: datetime, wished: timedelta) -> bool:
    """Whether a place that others keep has to be asked."""
    return any(not place.location.ours and not young_enough(place.as_of, now, wished) for place in _places(known))


async def _refresh(
    shelf: Shelf, ask: Ask, skus: Collection[Sku], began: datetime, now: datetime, wished: timedelta
) -> dict[Sku, list[_Need]]:
    """Ask each source once for all that is not young enough; sources are asked side by side and fail apart.

    What somebody else has asked since `began`, when this caller asked, is live for this caller too.
    """
    async with shelf.store.begin() as tx:
        listings = await product.offerings(tx, skus)
        stored = await stock.readings(tx, skus)
    needs = {sku: _needs(shelf, listings.get(sku, []), stored.get(sku, [])) for sku in skus}
    due: dict[int, list[_Need]] = defaultdict(list)
    for need in (one for group in needs.values() for one in group):
        if need.stored is not None and need.stored.as_of >= began:
            need.live = need.stored
        elif need.stored is None or not young_enough(need.stored.as_of, now, wished):
            due[id(need.source)].append(need)
    asked = [(_due(group, began, wished), group) for group in due.values()]
    if ask.before_calls is None or not asked or await ask.before_calls([one for one, _ in asked]):
        await asyncio.gather(*(_ask_source(shelf, ask, one, group) for one, group in asked))
    return needs


def _needs(shelf: Shelf, listings: Sequence[Offering], stored: Sequence[Reading]) -> list[_Need]:
    """Every place of others that should hold the SKU, by its listings: FBA pools of channel-fulfilled offers, a shop's places.

    One channel SKU in one place is one thing, whichever of the place's marketplaces lists it and with whatever refs.
    """
    last = {(one.location, one.channel, one.channel_sku): one for one in stored}
    keys: dict[tuple[ChannelId, ChannelSku], StockKey] = {}
    needs: dict[tuple[LocationCode, ChannelId, ChannelSku], _Need] = {}
    for listing in listings:
        key = keys.setdefault(
            (listing.channel, listing.channel_sku), StockKey(listing.channel_sku, tuple(sorted(listing.refs.items())))
        )
        for source in shelf.live.sources:
            for location in source.locations:
                if holds(location, listing.channel, listing.marketplace, listing.fulfilled_by):
                    place = (location.code, listing.channel, listing.channel_sku)
                    needs.setdefault(place, _Need(source, location, key, last.get(place)))
    return list(needs.values())


def _due(needs: Sequence[_Need], began: datetime, wished: timedelta) -> Due:
    """What is to be asked of the source that all of `needs` have."""
    never = {need.key for need in needs if need.stored is None}
    aged = {need.key for need in needs} - never
    return Due(needs[0].source, sorted(never, key=_by_sku), sorted(aged, key=_by_sku), began, wished)


async def _ask_source(shelf: Shelf, ask: Ask, due: Due, needs: Sequence[_Need]) -> None:
    """Ask one source: with patience for what has an older answer, until the deadline for what was never told."""
    answers = await shelf.live.ask(due, ask, patience_s=PATIENCE_S)
    for need in needs:
        need.settle(answers.get(need.key))


def _by_sku(key: StockKey) -> str:
    return key.channel_sku


async def _told_again(shelf: Shelf, skus: Sequence[Sku], needs: Mapping[Sku, Sequence[_Need]]) -> dict[Sku, Facts]:
    """What is known of the SKUs now, with the readings that the asking has brought; these have been kept already."""
    # Platforms take their time: everything else may have changed meanwhile.
    known = await facts(shelf, skus)
    for sku, before in known.items():
        known[sku] = _younger(before, needs)
        shelf.stock_cache.amend(sku, before, known[sku])
    return known


def _younger(known: Facts, needs: Mapping[Sku, Sequence[_Need]]) -> Facts:
    """The facts with the readings of `needs` where these are younger."""
    told: defaultdict[LocationCode, list[Reading]] = defaultdict(list)
    for need in needs.get(known.sku, ()):
        if (reading := need.live or need.stored) is not None:
            told[need.location.code].append(reading)
    places = [_younger_place(place, told[place.location.code]) for place in known.places]
    components = [(_younger(part, needs), units) for part, units in known.components]
    return known.with_places(places, components)


def _younger_place(place: Place, told: Sequence[Reading]) -> Place:
    oldest_at = min((one.as_of for one in told), default=None)
    if oldest_at is None or (place.as_of is not None and oldest_at <= place.as_of):
        return place
    return Place.read(place.location, told, place.freshness)


def _answer(
    known: Facts,
    needs: Mapping[Sku, Sequence[_Need]],
    now: datetime,
    wished: timedelta | None,
    at: datetime | None = None,
) -> StockAnswer:
    """Put the places of one SKU together."""
    graded_facts = known if wished is None else _graded(known, needs, now, wished)
    asked = [need for part in _parts(known) for need in needs.get(part.sku, ())] if needs else []
    failed = [(need.failure, need.stored) for need in asked if need.failure is not None]
    number = policy.available(graded_facts, now)
    return StockAnswer(
        _stock(graded_facts, number, now, at),
        bool(_places(known)),
        number.changes_at,
        unknown=[failure for failure, stored in failed if stored is None],
        aged=[failure for failure, stored in failed if stored is not None],
    )


def _graded(known: Facts, needs: Mapping[Sku, Sequence[_Need]], now: datetime, wished: timedelta) -> Facts:
    """The facts as they are to be told at `now`: the ledger speaks of this moment, the others are as old as they are."""
    asked = needs.get(known.sku, ())
    live = {need.location.code for need in asked} - {need.location.code for need in asked if need.live is None}
    places = [_graded_place(place, place.location.code in live, now, wished) for place in known.places]
    return known.with_places(places, [(_graded(part, needs, now, wished), units) for part, units in known.components])


def _graded_place(place: Place, live: bool, now: datetime, wished: timedelta) -> Place:
    if place.location.ours:
        return place if place.as_of is None else place.at(now, place.freshness)
    freshness = Freshness.LIVE if live else graded(place.as_of, now, wished)
    return place if freshness is place.freshness else place.at(place.as_of, freshness)


def _stock(known: Facts, number: Number, now: datetime, at: datetime | None) -> Stock:
    """The number with its parts. A kit lies nowhere: its counts are the kits that its components make."""
    on_hand, free = policy.counts(known, now)
    # Of a kit's components each has its own safety stock: what they cost in kits is what is left of the sum.
    safety_stock = max(0, free) - number.quantity if known.components else policy.safety_stock(known, now)[0]
    places = _places(known)
    told = [place.as_of for place in places if place.as_of is not None]
    return Stock(
        sku=known.sku,
        available_to_sell=number.quantity,
        on_hand=on_hand,
        reserved=on_hand - free,
        inbound=sum(place.inbound for place in known.places),
        safety_stock=safety_stock,
        as_of=min(told) if told else None,
        freshness=worst([place.freshness for place in places]),
        levels=[_level(place) for place in sorted(known.places, key=lambda place: place.location.code)],
        explanation=told_at(number.terms, now),
        at=at,
    )


def _level(place: Place) -> Level:
    return Level(
        location=place.location,
        on_hand=place.on_hand,
        reserved=place.reserved,
        inbound=place.inbound,
        as_of=place.as_of,
        freshness=place.freshness,
        source=place.location.keeper,
    )
