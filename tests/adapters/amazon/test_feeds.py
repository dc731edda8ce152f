"""Thousands of changes in one file: how it is written, sent once, followed, and what became of each item."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon import feeds
from adapters.amazon.client import Client
from adapters.amazon.feeds import (
    Feed,
    FeedBody,
    FeedItem,
    FeedOutcome,
    FeedResult,
    FeedStatus,
    Progress,
    Report,
    bodies,
    judged,
)
from adapters.amazon.listings_offers import Standing, read_offers
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.patches import Patch, PriceChange, price_patch, quantity_patch
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, OutcomeUnknown, Refused, Throttled, Transient, Unauthorized
from domain.ids import ChannelSku
from domain.money import Money
from tests.adapters.amazon.bench import Desk, Line, Sandbox, go
from tests.adapters.amazon.offers import OPERATIONS, client_of, skus, unhurried

OpenDesk = Callable[..., Desk]

US = marketplace("US")
COUNT = 3000


def item(sku: str, code: str = "US", *patches: Patch) -> FeedItem:
    return FeedItem(ChannelSku(sku), code, "PRODUCT", patches or (quantity_patch(US, 7),), f"ref-{sku}")


def body(*names: str) -> FeedBody:
    (made,) = bodies("A1SANDBOXNA", [item(name) for name in names])
    return made


# How it is written


def test_a_file_numbers_its_messages_from_one() -> None:
    (made,) = bodies("A1SANDBOXNA", [item("A,1"), item("B/ü")])
    patch = {
        "op": "merge",
        "path": "/attributes/fulfillment_availability",
        "value": [{"fulfillment_channel_code": "DEFAULT", "quantity": 7, "marketplace_id": US.id}],
    }
    message = {"operationType": "PATCH", "productType": "PRODUCT", "patches": [patch]}
    assert json.loads(made.content) == {
        "header": {"sellerId": "A1SANDBOXNA", "version": "2.0", "issueLocale": "en_US"},
        "messages": [{"messageId": 1, "sku": "A,1", **message}, {"messageId": 2, "sku": "B/ü", **message}],
    }


@given(
    st.lists(st.tuples(st.sampled_from(["US", "DE", "FR"]), st.integers(0, 400)), max_size=40),
    st.integers(1, 7),
    st.integers(1000, 2500),
)
def test_every_item_is_in_one_file_and_no_file_is_too_large(
    monkeypatched: Limits, entries: list[tuple[str, int]], messages: int, size: int
) -> None:
    monkeypatched.set(messages, size)
    items = [item(f"{number}-{'x' * length}", code) for number, (code, length) in enumerate(entries)]
    made = list(bodies("A1SANDBOXNA", items))
    for one in made:
        told = json.loads(one.content)["messages"]
        assert len(one.content) <= size
        assert 1 <= len(told) <= messages
        assert [message["messageId"] for message in told] == list(range(1, len(told) + 1))
        assert [message["sku"] for message in told] == [entry.sku for entry in one.items]
        assert {entry.marketplace for entry in one.items} == {one.marketplace}
    for code in ("US", "DE", "FR"):
        sent = [entry for one in made if one.marketplace == code for entry in one.items]
        assert sent == [entry for entry in items if entry.marketplace == code]


@dataclass(slots=True)
class Limits:
    """The limits of a file, for this test."""

    patch: pytest.MonkeyPatch

    def set(self, messages: int, size: int) -> None:
        self.patch.setattr(feeds, "MESSAGES", messages)
        self.patch.setattr(feeds, "BYTES", size)


@pytest.fixture(scope="module")
def monkeypatched() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield Limits(patch)


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with Amazon's own limits."""
    monkeypatch.setattr(feeds, "MESSAGES", 25_000)
    monkeypatch.setattr(feeds, "BYTES", 10 * 1024 * 1024)


def test_what_cannot_be_one_file_is_refused() -> None:
    with pytest.raises(Invalid, match="A comes twice for US"):
        list(bodies("A1SANDBOXNA", [item("A"), item("B"), item("A")]))
    with pytest.raises(Invalid, match="alone are larger"):
        list(bodies("A1SANDBOXNA", [item("A" * (10 * 1024 * 1024))]))
    assert list(bodies("A1SANDBOXNA", [])) == []
    assert len(list(bodies("A1SANDBOXNA", [item("A"), item("A", "CA")]))) == 2


# What a report says

ENDED = Feed.model_validate(
    {
        "feedId": "7",
        "feedType": "JSON_LISTINGS_FEED",
        "createdTime": "2026-03-01T12:00:00Z",
        "processingStatus": "DONE",
        "resultFeedDocumentId": "report-7",
    }
)


def report(processed: int, accepted: int, invalid: int, *issues: dict[str, Any], feed_id: str = "7") -> Report:
    summary = {"messagesProcessed": processed, "messagesAccepted": accepted, "messagesInvalid": invalid}
    return read(Report, {"header": {"feedId": feed_id}, "issues": issues, "summary": summary})


def remark(number: int | None, severity: str = "ERROR", **more: Any) -> dict[str, Any]:
    about = {} if number is None else {"messageId": number}
    return {"severity": severity, "message": "No.", "code": "90220", **about, **more}


def outcomes(results: Sequence[FeedResult]) -> str:
    return "".join(result.outcome[0] if result.outcome != "UNKNOWN" else "?" for result in results)


@pytest.mark.parametrize(
    ("told", "status", "expected"),
    [
        (report(3, 3, 0), "DONE", "AAA"),
        (report(3, 2, 1, remark(2)), "DONE", "AIA"),
        (report(3, 2, 1, remark(2), remark(2), remark(3, "WARNING")), "DONE", "AIA"),
        (report(3, 1, 2, remark(1), remark(3)), "DONE", "IAI"),
        # One has been left out, or an error stands for nothing that was counted: who is fine, nobody says.
        (report(2, 1, 1, remark(2)), "DONE", "?I?"),
        (report(3, 2, 1), "DONE", "???"),
        (report(3, 3, 0, remark(1)), "DONE", "I??"),
        (report(3, 3, 0, remark(None)), "DONE", "???"),
        (report(3, 3, 0, remark(None, "WARNING")), "DONE", "AAA"),
        (report(3, 2, 1, remark(None)), "DONE", "???"),
        (report(0, 0, 0, remark(None)), "DONE", "???"),
        (report(4, 4, 0), "DONE", "???"),
        (report(3, 2, 1, remark(2)), "FATAL", "?I?"),
    ],
)
def test_only_what_a_report_accounts_for_is_accepted(told: Report, status: str, expected: str) -> None:
    ended = ENDED.model_copy(update={"processing_status": FeedStatus(status)})
    results = judged(ended, told, [item("A"), item("B"), item("C")])
    assert outcomes(results) == expected
    assert [(result.reference, result.sku) for result in results] == [("ref-A", "A"), ("ref-B", "B"), ("ref-C", "C")]


def test_issues_come_with_their_item() -> None:
    told = report(2, 1, 1, remark(2, sku="B", attributeName="purchasable_offer"), remark(1, "WARNING", code="18027"))
    first, second = judged(ENDED, told, [item("A"), item("B")])
    assert [(one.code, one.severity, one.attributes) for one in first.findings] == [("18027", "WARNING", ())]
    assert [(one.code, one.attributes) for one in second.findings] == [("90220", ("purchasable_offer",))]


def test_what_is_said_of_the_whole_feed_is_said_of_each_item() -> None:
    told = report(2, 1, 1, remark(None, "WARNING", code="4000"), remark(2))
    first, second = judged(ENDED, told, [item("A"), item("B")])
    assert [one.code for one in first.findings] == ["4000"]
    assert [one.code for one in second.findings] == ["4000", "90220"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (report(1, 1, 0, feed_id="8"), "that of the feed 8"),
        (report(1, 0, 1, remark(2)), "message 2 is none of ours"),
        (report(1, 0, 1, remark(1, sku="B")), "message 1 is none of ours"),
    ],
)
def test_a_report_about_something_else_is_not_believed(told: Report, words: str) -> None:
    with pytest.raises(Unclear, match=words):
        judged(ENDED, told, [item("A")])


@given(st.lists(st.sampled_from(["fine", "wrong", "left out"]), min_size=1, max_size=30))
def test_no_item_that_was_not_carried_out_is_ever_called_accepted(fates: list[str]) -> None:
    items = [item(str(number)) for number in range(len(fates))]
    count = Counter(fates)
    issues = [remark(number) for number, fate in enumerate(fates, start=1) if fate == "wrong"]
    told = report(count["fine"] + count["wrong"], count["fine"], count["wrong"], *issues)
    for result, fate in zip(judged(ENDED, told, items), fates, strict=True):
        assert (result.outcome is FeedOutcome.INVALID) is (fate == "wrong")
        assert result.outcome is not FeedOutcome.ACCEPTED or fate == "fine"
        assert count["left out"] or result.outcome is not FeedOutcome.UNKNOWN


async def test_a_feed_without_a_report_is_accounted_for_by_its_status(desk: Desk, line: Line) -> None:
    client = client_of(desk)

    async def told(status: str, document: str | None = None) -> str:
        update = {"processing_status": FeedStatus(status), "result_feed_document_id": document}
        return outcomes(await feeds.results(client, ENDED.model_copy(update=update), [item("A"), item("B")], Ask()))

    assert await told("CANCELLED", "report-7") == "UU"
    assert await told("FATAL") == "??"
    assert await told("DONE") == "??"
    for status in ("IN_QUEUE", "IN_PROGRESS"):
        with pytest.raises(Invalid, match="has not ended"):
            await told(status)
    assert line.calls == []


@pytest.mark.parametrize(
    ("content", "packing"),
    [(b"<html>", {}), (b'{"header": {}}', {}), (b"{}", {"compressionAlgorithm": "ZIP"}), (b"{", {})],
)
async def test_a_report_that_cannot_be_read_tells_nothing(
    desk: Desk, line: Line, content: bytes, packing: dict[str, str]
) -> None:
    document = {"feedDocumentId": "report-7", "url": "https://store.test/report", **packing}
    line.answers.extend([httpx.Response(200, json=document), httpx.Response(200, stream=httpx.ByteStream(content))])
    with pytest.raises(Transient):
        await feeds.results(client_of(desk), ENDED, [item("A")], Ask())


# How it is sent, once


@dataclass(slots=True)
class Diary:
    """What a sender keeps; it may be killed right before or after a step is kept."""

    progress: Progress = field(default_factory=Progress)
    kept: list[Progress] = field(default_factory=list)
    dies_before: int | None = None
    dies_after: int | None = None

    async def keep(self, progress: Progress) -> None:
        if len(self.kept) == self.dies_before:
            raise Killed
        self.kept.append(progress)
        self.progress = progress
        if len(self.kept) - 1 == self.dies_after:
            raise Killed


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
async def market() -> AsyncIterator[Sandbox]:
    """A sandbox with thousands of listings in the US."""
    started = Sandbox("--products", str(COUNT), "--orders", "10", "--marketplaces", "US")
    await started.generous(*OPERATIONS)
    yield started
    await started.close()


@pytest.fixture
async def stand(market: Sandbox, open_desk: OpenDesk) -> Stand:
    """Whose feeds are not throttled: an hour has passed since those of the test before."""
    await market.post("faults", {"faults": []})
    await market.post("clock", {"advance": 3600})
    desk = open_desk(market)
    await unhurried(desk)
    return Stand(market, client_of(desk), desk.config.seller_id, (await skus(market, "US"))[:4])


@dataclass(slots=True)
class Stand:
    """The account, and a few of its SKUs."""

    market: Sandbox
    client: Client
    seller: str
    names: list[ChannelSku]

    def file(self, quantity: int) -> FeedBody:
        items = [replace(item(name), patches=(quantity_patch(US, quantity),)) for name in self.names]
        (made,) = bodies(self.seller, items)
        return made

    async def known(self) -> set[str]:
        return {one["feedId"] for one in (await self.market.get("feeds"))["feeds"]}

    async def send(self, file: FeedBody, diary: Diary, known: set[str], lag_s: float = 0.0) -> str:
        told = datetime.fromisoformat((await self.market.get("clock"))["now"])
        ahead = told - datetime.now(UTC)

        def now() -> datetime:
            return datetime.now(UTC) + ahead

        return await feeds.send(self.client, file, diary.progress, diary.keep, known, Ask(), now=now, lag_s=lag_s)

    async def ended(self, feed_id: str) -> Feed:
        """Let the sandbox's time pass until the feed has come to its end."""
        for _ in range(20):
            told = await feeds.feed(self.client, feed_id, Ask())
            if told.processing_status.final:
                return told
            await self.market.post("clock", {"advance": 30})
        raise AssertionError(f"the feed {feed_id} does not end")

    async def quantities(self) -> set[int | None]:
        await self.market.post("clock", {"advance": 10})
        found = await read_offers(self.client, self.seller, US, self.names, Ask())
        return {found[name].quantity for name in self.names}


async def test_a_feed_is_followed_to_its_end(stand: Stand) -> None:
    diary, file = Diary(), stand.file(31)
    since = await stand.market.mark()
    number = await stand.send(file, diary, await stand.known())
    assert [(one.document_id is not None, one.asked_at is not None, one.feed_id) for one in diary.kept] == [
        (True, False, None),
        (True, True, None),
        (True, True, number),
    ]
    assert await stand.send(file, diary, set()) == number
    assert (await feeds.feed(stand.client, number, Ask())).processing_status is FeedStatus.IN_QUEUE
    ended = await stand.ended(number)
    results = await feeds.results(stand.client, ended, file.items, Ask())
    assert outcomes(results) == "AAAA"
    assert await stand.quantities() == {31}
    called = Counter(call["operation"] for call in await stand.market.calls(since))
    assert called["createFeed"] == called["createFeedDocument"] == called["upload"] == 1


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_sender_that_is_killed_at_any_step_loses_and_doubles_nothing(
    stand: Stand, step: int, when: str
) -> None:
    known = await stand.known()
    file, diary = stand.file(40 + step), Diary()
    setattr(diary, f"dies_{when}", step)
    with pytest.raises(Killed):
        await stand.send(file, diary, known)
    successor = Diary(diary.progress)
    number = await stand.send(file, successor, known)
    assert await stand.known() - known == {number}
    ended = await stand.ended(number)
    assert outcomes(await feeds.results(stand.client, ended, file.items, Ask())) == "AAAA"
    assert await stand.quantities() == {40 + step}


@pytest.mark.parametrize(
    ("kind", "taken"), [("apply_then_reset", True), ("apply_then_status", True), ("status", False), ("reset", False)]
)
async def test_an_answer_that_was_lost_is_looked_for_before_anything_is_sent_again(
    stand: Stand, kind: str, taken: bool
) -> None:
    known = await stand.known()
    file, diary = stand.file(50), Diary()
    fault = {"operation": "createFeed", "kind": kind, "count": 1, "status": 500}
    await stand.market.post("faults", {"faults": [fault]})
    with pytest.raises(OutcomeUnknown):
        await stand.send(file, diary, known)
    since = await stand.market.mark()
    number = await stand.send(file, diary, known)
    assert await stand.known() - known == {number}
    assert len(await stand.market.calls(since, "createFeed")) == (0 if taken else 1)
    assert len(await stand.market.calls(since, "getFeeds")) == 1
    assert await stand.market.calls(since, "createFeedDocument") == []
    await stand.ended(number)
    assert await stand.quantities() == {50}


async def test_nothing_is_sent_again_while_a_feed_may_still_come_up(stand: Stand) -> None:
    known = await stand.known()
    file, diary = stand.file(55), Diary()
    await stand.market.post("faults", {"faults": [{"operation": "createFeed", "kind": "reset", "count": 1}]})
    with pytest.raises(OutcomeUnknown):
        await stand.send(file, diary, known, lag_s=3600)
    with pytest.raises(OutcomeUnknown, match="may still come up"):
        await stand.send(file, diary, known, lag_s=3600)
    assert await stand.known() == known
    assert await stand.send(file, diary, known) in await stand.known() - known


async def test_a_refusal_leaves_a_sender_free_to_begin_again(stand: Stand) -> None:
    known = await stand.known()
    file = stand.file(56)
    diary = Diary(Progress(document_id="amzn1.spdoc.1.4.no-such"))
    with pytest.raises(Refused):
        await stand.send(file, diary, known)
    assert diary.progress == Progress(document_id="amzn1.spdoc.1.4.no-such")
    assert await stand.known() == known
    again = Diary()
    assert {await stand.send(file, again, known)} == await stand.known() - known


async def test_an_upload_that_fails_creates_nothing(stand: Stand) -> None:
    known = await stand.known()
    file, diary = stand.file(57), Diary()
    await stand.market.post("faults", {"faults": [{"operation": "upload", "kind": "reset", "count": 1}]})
    with pytest.raises(Transient):
        await stand.send(file, diary, known)
    assert (diary.kept, await stand.known()) == ([], known)
    assert {await stand.send(file, diary, known)} == await stand.known() - known


ASKED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def listed(
    *ids: str, stores: Sequence[str] = (US.id,), at: str = "2026-03-01T12:00:01Z", token: str | None = None
) -> httpx.Response:
    told = [
        {
            "feedId": one,
            "feedType": "JSON_LISTINGS_FEED",
            "marketplaceIds": list(stores),
            "createdTime": at,
            "processingStatus": "IN_QUEUE",
        }
        for one in ids
    ]
    return httpx.Response(200, json={"feeds": told} | ({"nextToken": token} if token else {}))


async def test_a_feed_is_sought_by_type_marketplace_and_time(desk: Desk, line: Line) -> None:
    await unhurried(desk, "getFeeds")
    late = listed("5", at="2026-03-01T12:05:01Z", token="y")
    foreign = listed("3", stores=["A1PA6795UKMFR9"])
    line.answers.extend([listed("1", "2", token="x+/="), late, foreign, listed("4", stores=[])])
    found = await feeds.sought(client_of(desk), US, ASKED, {"1", "2"}, Ask())
    assert found is None
    assert dict(line.calls[0].url.params) == {
        "feedTypes": "JSON_LISTINGS_FEED",
        "marketplaceIds": US.id,
        "pageSize": "100",
        "createdSince": "2026-03-01T11:58:00.000Z",
    }
    assert dict(line.calls[1].url.params) == {"nextToken": "x+/="}
    found = await feeds.sought(client_of(desk), US, ASKED, {"1", "2"}, Ask())
    assert found is not None
    assert found.feed_id == "4"


async def test_of_two_feeds_that_may_be_it_none_is_chosen(desk: Desk, line: Line) -> None:
    line.answers.append(listed("8", "9"))
    diary = Diary(Progress("document", ASKED))
    with pytest.raises(OutcomeUnknown, match="2 feeds may be the one"):
        await feeds.send(
            client_of(desk), body("A"), diary.progress, diary.keep, {"7"}, Ask(), now=lambda: ASKED, lag_s=0
        )
    assert (diary.kept, len(line.calls)) == ([], 1)


@pytest.mark.parametrize("answer", [httpx.Response(400), httpx.Response(404), httpx.Response(429), httpx.Response(500)])
async def test_a_look_that_fails_never_frees_a_sender_to_begin_again(
    desk: Desk, line: Line, answer: httpx.Response
) -> None:
    line.answers.append(answer)
    diary = Diary(Progress("document", ASKED))
    with pytest.raises(OutcomeUnknown):
        await feeds.send(client_of(desk), body("A"), diary.progress, diary.keep, (), Ask(), now=lambda: ASKED, lag_s=0)
    assert diary.kept == []
    assert [call.method for call in line.calls] == ["GET"]


async def test_feeds_keep_a_limit_of_their_own(desk: Desk, line: Line) -> None:
    await unhurried(desk, "createFeed")
    line.answers.append(httpx.Response(202, json={"feedId": "1"}))
    client, sent = client_of(desk), 0
    deadline = asyncio.get_running_loop().time() + 20

    async def one_more() -> bool:
        with contextlib.suppress(Throttled):
            await feeds.create(client, "document", US, Ask(deadline=deadline), go)
            return True
        return False

    while await one_more():
        sent += 1
    # No five minutes may see more than five.
    assert 1 <= sent <= feeds.LIMIT.burst + feeds.LIMIT.rate * 300 <= 5
    assert len(line.calls) == sent


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (httpx.Response(400, json={"errors": [{"code": "400", "message": "No."}]}), Invalid),
        (httpx.Response(429), Throttled),
        (httpx.Response(403), Unauthorized),
        (httpx.Response(500), OutcomeUnknown),
        (httpx.Response(202, json={}), OutcomeUnknown),
        (httpx.ReadTimeout("late"), OutcomeUnknown),
        (httpx.ConnectError("no way"), Transient),
    ],
)
async def test_only_what_may_have_happened_is_kept_as_asked(
    desk: Desk, line: Line, answer: httpx.Response | Exception, failure: type[HouseError]
) -> None:
    line.answers.append(answer)
    diary = Diary(Progress("document"))
    with pytest.raises(failure):
        await feeds.send(client_of(desk), body("A"), diary.progress, diary.keep, (), Ask(), now=lambda: ASKED, lag_s=0)
    assert (diary.progress.asked_at is not None) is (failure is OutcomeUnknown)


async def test_a_feed_is_called_back_only_before_it_begins(stand: Stand) -> None:
    file, known = stand.file(60), await stand.known()
    number = await stand.send(file, Diary(), known)
    await feeds.cancel(stand.client, number, Ask(), go)
    ended = await stand.ended(number)
    assert ended.processing_status is FeedStatus.CANCELLED
    assert outcomes(await feeds.results(stand.client, ended, file.items, Ask())) == "UUUU"
    assert 60 not in await stand.quantities()
    later = await stand.send(file, Diary(), known | {number})
    await stand.ended(later)
    with pytest.raises(Refused):
        await feeds.cancel(stand.client, later, Ask(), go)
    assert await stand.quantities() == {60}


@pytest.mark.parametrize(("verdict", "told"), [("FATAL", "????"), ("SHORT", "????")])
async def test_a_feed_that_stopped_halfway_promises_nothing(stand: Stand, verdict: str, told: str) -> None:
    await stand.market.post("feeds", {"verdict": verdict, "messages": 2})
    file = stand.file(70 if verdict == "FATAL" else 71)
    number = await stand.send(file, Diary(), await stand.known())
    ended = await stand.ended(number)
    assert outcomes(await feeds.results(stand.client, ended, file.items, Ask())) == told
    # Two of them have been carried out: only reading back tells which.
    assert len(await stand.quantities()) >= 2


async def offers(stand: Stand, names: Sequence[ChannelSku]) -> dict[ChannelSku, Standing]:
    """All of them, twenty at a time."""
    found: dict[ChannelSku, Standing] = {}
    for start in range(0, len(names), 20):
        found |= await read_offers(stand.client, stand.seller, US, names[start : start + 20], Ask())
    return found


async def test_three_thousand_prices_go_in_one_feed(stand: Stand) -> None:
    names = [*await skus(stand.market, "US"), *await skus(stand.market, "US", "AMAZON")]
    assert len(names) == COUNT
    before = await offers(stand, names)
    wished = {name: Money(Decimal(1000 + place) / 100, "USD") for place, name in enumerate(names)}
    items = []
    for name in names:
        patch = price_patch(US, before[name].entries, PriceChange(price=wished[name]))
        items.append(FeedItem(name, "US", before[name].product_type, (patch,), f"ref-{name}"))
    bad = [replace(one, product_type="LUGGAGE") for one in items[::431]]
    assert len(bad) == 7
    sent = [*items]
    sent[::431] = bad
    (file,) = bodies(stand.seller, sent)
    since = await stand.market.mark()
    number = await stand.send(file, Diary(), await stand.known())
    ended = await stand.ended(number)
    results = await feeds.results(stand.client, ended, file.items, Ask())
    assert [result.reference for result in results] == [one.reference for one in sent]
    refused = {result.sku for result in results if result.outcome is FeedOutcome.INVALID}
    assert refused == {one.sku for one in bad}
    assert Counter(result.outcome for result in results) == {FeedOutcome.ACCEPTED: COUNT - 7, FeedOutcome.INVALID: 7}
    assert all("LUGGAGE" in result.findings[0].message for result in results if result.sku in refused)
    await stand.market.post("clock", {"advance": 10})
    assert len(await stand.market.calls(since, "createFeed")) == 1
    expected = {name: before[name].asked.price if name in refused else wished[name] for name in names}
    true = {one["sku"]: one["prices"]["US"] for one in (await stand.market.get("world", limit=COUNT))["skus"]}
    assert true == {name: f"{price.amount:.2f}" for name, price in expected.items() if price}
    some = [*refused, *[name for name in names if name not in refused][::10]]
    shown = await offers(stand, some)
    for name in some:
        assert shown[name].asked.price == shown[name].in_force == expected[name]
        assert (shown[name].quantity, shown[name].findings) == (before[name].quantity, before[name].findings)


async def test_what_was_accepted_without_effect_is_found_by_reading_back(stand: Stand) -> None:
    assert len(await stand.quantities()) >= 1
    await stand.market.post("ignored-patches", {"sku": stand.names[1], "count": 1})
    file = stand.file(90)
    ended = await stand.ended(await stand.send(file, Diary(), await stand.known()))
    assert outcomes(await feeds.results(stand.client, ended, file.items, Ask())) == "AAAA"
    await stand.market.post("clock", {"advance": 10})
    found = await read_offers(stand.client, stand.seller, US, stand.names, Ask())
    assert [found[name].quantity == 90 for name in stand.names] == [True, False, True, True]
