"""Words for money that nobody knows: told once, said by people, and classed with all lines that have them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, insert, select

from domain.channel import Channel, Platform
from domain.errors import NotFound
from domain.ids import ChannelId, OrderId
from domain.money import Money
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import Cause, MoneyLine, Source, Stage
from domain.money_said import Said, Words
from domain.money_words import AMAZON, REST, Dictionary
from store import locks, money_line, money_word, order
from store.session import Store
from store.tables import estimate_due, settlement
from store.tables import money_line as line_table
from tests.workers.fake_port import FakePort, make_order
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.money_words import alert, reclass

AMZ, SHOP = ChannelId("amz"), ChannelId("shop")
AT = datetime(2026, 11, 3, 23, 30, tzinfo=UTC)
NEW = Words(AMAZON, "other-transaction", "other-transaction", "Brand New Fee")
ADS = Said(Event.ACCOUNT, MoneyClass.ADVERTISING, "ann", "as Amazon says on its page of fees")


@pytest.fixture
def deps(store: Store, redis: Redis) -> Deps:
    amazon = Channel(AMZ, Platform.AMAZON, "Amazon", True, ("DE",), zones={"DE": "Europe/Berlin"})
    return make_deps(store, redis, [FakePort(amazon), FakePort(Channel(SHOP, Platform.REST, "Shop", True))])


def line(amount: str = "-3.00", currency: str = "EUR", *, words: Words = NEW, channel: ChannelId = AMZ) -> MoneyLine:
    return MoneyLine(
        channel=channel,
        source=Source.SETTLEMENT,
        stage=Stage.SETTLED,
        event=Event.ACCOUNT,
        money_class=MoneyClass.UNCLASSIFIED,
        amount=Money(Decimal(amount), currency),
        posted_at=AT,
        day=date(2026, 11, 4),
        kind=words.kind,
        amount_kind=words.amount_kind,
        description=words.description,
        settlement="s",
        row=1,
        marketplace="DE",
        cause=Cause.UNCLASSIFIED,
    )


async def add(store: Store, *lines: MoneyLine) -> None:
    async with store.begin() as tx:
        values = {"id": "s", "channel": AMZ, "kind": "SETTLEMENT", "external_id": "1", "currency": "EUR", "total": 0}
        await tx.execute(insert(settlement).values(**values, starts_at=AT, ends_at=AT, line_count=1))
        await money_line.add(tx, lines)


async def say(store: Store, words: Words, said: Said) -> bool:
    async with store.begin() as tx:
        return await money_word.say(tx, words, said)


async def standing(store: Store) -> Sequence[MoneyLine]:
    async with store.begin() as tx:
        rows = await tx.execute(select(line_table).where(money_line.standing()).order_by(line_table.c.id))
        return list(map(money_line.line_of, rows))


async def test_unknown_words_are_told_once_in_all_spellings(
    deps: Deps, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await add(store, line(), line("-4.00", words=replace(NEW, description="brand-new fee")), line("5", "USD"))
    assert [await alert(deps), await alert(deps)] == [1, 0]
    (told,) = [one for one in caplog.records if one.msg == "money.words_unknown"]
    assert vars(told)["amount_kind"] == "other-transaction"
    async with store.begin() as tx:
        (found,) = await money_word.unclassified(tx, deps.channels)
    assert (found.lines, found.amounts) == (3, (Money(Decimal("-7.00"), "EUR"), Money(Decimal(5), "USD")))
    assert (found.words.key, found.channels) == (NEW.key, (AMZ,))


async def test_what_people_say_classes_the_lines_there_are_and_those_that_come(deps: Deps, store: Store) -> None:
    await add(store, line(), line("1.00", words=replace(NEW, kind="Order", description="Other")))
    await alert(deps)
    assert await say(store, NEW, ADS)
    assert not await say(store, NEW, replace(ADS, by="bob"))
    assert [await reclass(deps), await reclass(deps)] == [1, 0]
    other, classed = await standing(store)
    assert (other.description, other.money_class) == ("Other", MoneyClass.UNCLASSIFIED)
    assert (classed.money_class, classed.event, classed.part, classed.cause) == (
        MoneyClass.ADVERTISING,
        Event.ACCOUNT,
        Part.FEES,
        None,
    )
    assert replace(classed, money_class=MoneyClass.UNCLASSIFIED, cause=Cause.UNCLASSIFIED) == line()
    async with store.begin() as tx:
        gone = (await tx.execute(select(line_table).where(line_table.c.replaced_at.is_not(None)))).one()
        means = (await money_word.dictionary(tx)).of(AMAZON)
    assert gone.replaced_why == "its words are known to be ACCOUNT ADVERTISING"
    assert means("Other-Transaction", "other-transaction", "BRAND new fee") == (Event.ACCOUNT, MoneyClass.ADVERTISING)


async def test_people_may_say_otherwise_later_and_what_they_said_stays_on_record(deps: Deps, store: Store) -> None:
    await add(store, line())
    await alert(deps)
    await say(store, NEW, ADS)
    later = replace(ADS, money_class=MoneyClass.STORAGE_FEE, by="bob")
    assert await reclass(deps) == 1
    assert await say(store, NEW, later)
    assert [await reclass(deps), await reclass(deps)] == [1, 0]
    async with store.begin() as tx:
        ((words, said),) = await money_word.all_said(tx)
    assert (words, replace(said, known_at=None)) == (NEW, later)
    assert [one.money_class for one in await standing(store)] == [MoneyClass.STORAGE_FEE]


async def test_words_that_no_line_has_are_not_said(deps: Deps, store: Store) -> None:
    with pytest.raises(NotFound, match="unclassifiedMoney lists those that do"):
        await say(store, NEW, ADS)
    async with store.begin() as tx:
        assert await money_word.all_said(tx) == []
        assert await money_word.dictionary(tx) == Dictionary()


async def test_a_sale_counts_on_the_day_of_its_order_which_is_reckoned_and_split_anew(deps: Deps, store: Store) -> None:
    port = deps.ports[SHOP]
    assert isinstance(port, FakePort)
    one = replace(make_order(port, "1"), placed_at=datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
    words = Words(REST, "zahlung", "amount", "")
    sold = replace(line("9.00", words=words, channel=SHOP), marketplace=None, order_id=one.id, order_external_id="1")
    unknown = replace(sold, order_id=None, order_external_id="2")
    async with store.begin() as tx:
        await order.upsert(tx, [one])
        await tx.execute(estimate_due.delete())
    await add(store, sold, unknown)
    await alert(deps)
    await say(store, words, replace(ADS, event=Event.SALE, money_class=MoneyClass.SALE))
    assert await reclass(deps) == 2
    assert [(made.day.isoformat(), made.part) for made in await standing(store)] == [
        ("2026-10-31", Part.REVENUE),
        ("2026-11-03", Part.REVENUE),
    ]
    async with store.begin() as tx:
        due = set(await tx.scalars(select(estimate_due.c.order_id)))
    assert len(due) == 2
    assert OrderId(one.id) in due


async def test_a_payment_that_is_called_so_by_people_stays_open(deps: Deps, store: Store) -> None:
    words = Words(REST, "zahlung", "amount", "")
    paid = replace(line("9.00", words=words, channel=SHOP), marketplace=None)
    await add(store, paid, replace(paid, order_id=OrderId("o"), order_external_id="1"))
    await alert(deps)
    await say(store, words, replace(ADS, event=Event.SALE, money_class=MoneyClass.PAYMENT))
    assert await reclass(deps) == 2
    assert [made.cause for made in await standing(store)] == [Cause.ORDER_UNKNOWN, Cause.UNAPPORTIONED]


async def test_whoever_writes_books_is_waited_for(deps: Deps, store: Store) -> None:
    await add(store, line())
    await alert(deps)
    await say(store, NEW, ADS)
    async with store.begin() as tx:
        await tx.execute(select(func.pg_advisory_xact_lock(locks.BOOKS)))
        assert await reclass(deps) == 0
    assert await reclass(deps) == 1


async def test_words_of_any_length_are_kept_and_classed(deps: Deps, store: Store) -> None:
    """What a file says may be longer than an index can hold."""
    long = replace(NEW, kind="k" * 9_000, description="".join(f"fee {number} " for number in range(2_000)))
    await add(store, line(words=long))
    assert await alert(deps) == 1
    await say(store, long, ADS)
    assert await reclass(deps) == 1
