"""Thousands of changes at once: a file of patches that Amazon works through in its own time. Source: Feeds 2021-06-30.

A feed is sent in steps (a document, its upload, createFeed), each of which can be cut off. Only createFeed changes anything; it
takes no key of ours, and a feed does not tell which document it was made of. So whoever sends keeps a `Progress` before each
step, and a createFeed without an answer is looked for among the feeds there are before anything is sent again. For that, the
feeds of an account and marketplace are sent one after the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import quote

import orjson

from adapters.amazon import documents
from adapters.amazon.client import Client
from adapters.amazon.listings import iso
from adapters.amazon.listings_submissions import LOCALE, Finding
from adapters.amazon.marketplaces import Marketplace, marketplace
from adapters.amazon.paging import Tokens
from adapters.amazon.patches import Patch
from adapters.amazon.wire import Count, Instant
from adapters.port import BeforeSend
from adapters.transport import Unreadable, parse_json
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask, Plan
from domain.errors import HouseError, Invalid, OutcomeUnknown, Refused, Throttled, Transient
from domain.ids import ChannelSku

FEED_TYPE = "JSON_LISTINGS_FEED"
CONTENT_TYPE = "application/json; charset=UTF-8"
VERSION = "2.0"
FEEDS = "/feeds/2021-06-30/feeds"
DOCUMENTS = "/feeds/2021-06-30/documents"

MESSAGES = 25_000
BYTES = 10 * 1024 * 1024
REPORT_BYTES = 64 * 1024 * 1024
# Beside createFeed's own plan, Amazon takes five of these in five minutes. What this bucket holds and what it gains in five
# minutes are five together, so that no five minutes see more; in the long run createFeed's own plan is as slow. Source: SP-API
# changelog, May 2025.
LIMIT = Plan(FEED_TYPE, rate=2.5 / 300, burst=2.5)
# How far Amazon's clock may be from ours, and how long a createFeed may be under way.
SKEW = timedelta(minutes=2)
UNDER_WAY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class FeedItem:
    """The change of one SKU in one marketplace (its country code). `reference` is ours, and comes back with the result."""

    sku: ChannelSku
    marketplace: str
    product_type: str
    patches: tuple[Patch, ...]
    reference: str


@dataclass(frozen=True, slots=True)
class FeedBody:
    """One file, for one marketplace: message 1 is its first item."""

    marketplace: str
    items: tuple[FeedItem, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a feed has come: its document is uploaded; createFeed is about to be asked, or was; Amazon's name of the feed."""

    document_id: str | None = None
    asked_at: datetime | None = None
    feed_id: str | None = None


class FeedOutcome(StrEnum):
    """What became of one item. ACCEPTED is not yet visible; INVALID and UNTOUCHED have changed nothing; of UNKNOWN only a
    read-back tells."""

    ACCEPTED = "ACCEPTED"
    INVALID = "INVALID"
    UNTOUCHED = "UNTOUCHED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class FeedResult:
    """The outcome of one item, with what Amazon says about it."""

    reference: str
    sku: ChannelSku
    outcome: FeedOutcome
    findings: tuple[Finding, ...] = ()


class FeedStatus(StrEnum):
    """Where Amazon is with a feed."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FATAL = "FATAL"

    @property
    def final(self) -> bool:
        """Nothing more will come."""
        return self not in (FeedStatus.IN_QUEUE, FeedStatus.IN_PROGRESS)


class Feed(Wire):
    """A feed as Amazon tells of it."""

    feed_id: str
    feed_type: str
    created_time: Instant
    processing_status: FeedStatus
    marketplace_ids: tuple[str, ...] = ()
    result_feed_document_id: str | None = None


class Listed(Wire):
    """One page of feeds."""

    feeds: tuple[Feed, ...]
    next_token: str | None = None


class Created(Wire):
    """Amazon's name of a new feed."""

    feed_id: str


class Slot(Wire):
    """A place for a file."""

    feed_document_id: str
    url: str


class Document(Slot):
    """A file to be fetched."""

    compression_algorithm: str | None = None


class Remark(Wire):
    """What a report says about one message, or about all of the feed when it names none."""

    severity: str
    message: str
    message_id: int | None = None
    sku: str | None = None
    code: str = ""
    attribute_name: str | None = None

    @property
    def finding(self) -> Finding:
        attributes = (self.attribute_name,) if self.attribute_name else ()
        return Finding(self.code, self.severity, self.message, attributes)


class Summary(Wire):
    """How many messages came to what."""

    messages_processed: Count
    messages_accepted: Count
    messages_invalid: Count


class Header(Wire):
    """Which feed a report is about."""

    feed_id: str


class Report(Wire):
    """A processing report. Messages without issues are not named in it: the counts alone account for them."""

    header: Header
    issues: tuple[Remark, ...]
    summary: Summary


def bodies(seller_id: str, items: Sequence[FeedItem]) -> Iterator[FeedBody]:
    """The items as files: one marketplace in each, 25,000 messages at most and less than 10 MiB, in the order given.

    Raises Invalid for a SKU that comes twice in a marketplace: which of both would win, nobody could say.
    """
    by_store: dict[str, dict[ChannelSku, FeedItem]] = {}
    for item in items:
        in_store = by_store.setdefault(marketplace(item.marketplace).code, {})
        if item.sku in in_store:
            raise Invalid(f"{item.sku} comes twice for {item.marketplace}; put its patches into one item.")
        in_store[item.sku] = item
    for code, in_store in by_store.items():
        yield from _files(seller_id, code, list(in_store.values()))


def _files(seller_id: str, code: str, items: list[FeedItem]) -> Iterator[FeedBody]:
    header = orjson.dumps({"sellerId": seller_id, "version": VERSION, "issueLocale": LOCALE})
    frame = len(_file(header, []))
    start, messages, size = 0, list[bytes](), frame
    for place, item in enumerate(items):
        message = _message(item, len(messages) + 1)
        if len(messages) == MESSAGES or size + len(message) + 1 >= BYTES:
            if messages:
                yield FeedBody(code, tuple(items[start:place]), _file(header, messages))
            start, messages, size = place, [], frame
            message = _message(item, 1)
            if size + len(message) >= BYTES:
                raise Invalid(f"The patches of {item.sku} alone are larger than {BYTES} bytes.")
        messages.append(message)
        size += len(message) + 1
    if messages:
        yield FeedBody(code, tuple(items[start:]), _file(header, messages))


def _message(item: FeedItem, number: int) -> bytes:
    return orjson.dumps(
        {
            "messageId": number,
            "sku": item.sku,
            "operationType": "PATCH",
            "productType": item.product_type,
            "patches": [patch.body() for patch in item.patches],
        }
    )


def _file(header: bytes, messages: list[bytes]) -> bytes:
    return b'{"header":' + header + b',"messages":[' + b",".join(messages) + b"]}"


async def send(
    client: Client,
    body: FeedBody,
    progress: Progress,
    keep: Callable[[Progress], Awaitable[None]],
    known: Collection[str],
    ask: Ask,
    *,
    now: Callable[[], datetime],
    lag_s: float,
) -> str:
    """Bring a feed to Amazon from wherever it is; Amazon's name of it. After any end, call again with what was kept last.

    `keep` makes each step durable, and raises when the caller may not go on. `known` are all feeds of the account that others
    account for. `now` is our clock, which may be two minutes from Amazon's; `lag_s` is how long a new feed may take to be listed.
    Raises OutcomeUnknown while nobody knows whether createFeed was taken, also because getFeeds fails: call again after `lag_s`.
    After any other failure but Unauthorized, which may hide the same, nothing has been created; after Refused the document may
    have died, so begin with a new `Progress`.
    """
    if progress.feed_id is not None:
        return progress.feed_id
    store = marketplace(body.marketplace)
    if progress.asked_at is not None:
        late = now() - progress.asked_at > timedelta(seconds=lag_s)
        try:
            found = await sought(client, store, progress.asked_at, known, ask)
        except (Transient, Throttled, Refused) as problem:
            raise OutcomeUnknown(
                f"createFeed was asked, and whether its feed is there cannot be told: {problem.message}",
                upstream_request_id=problem.upstream_request_id,
            ) from problem
        if found is not None:
            await keep(replace(progress, feed_id=found.feed_id))
            return found.feed_id
        if not late:
            raise OutcomeUnknown("createFeed was asked and its feed is not listed; it may still come up.")
    if progress.document_id is None:
        progress = Progress(document_id=await upload(client, body, ask))
        await keep(progress)

    async def asking() -> None:
        nonlocal progress
        asked = replace(progress, asked_at=now())
        await keep(asked)
        progress = asked

    try:
        feed_id = await create(client, str(progress.document_id), store, ask, asking)
    except OutcomeUnknown:
        raise
    except HouseError:
        if progress.asked_at is not None:
            await keep(replace(progress, asked_at=None))
        raise
    await keep(replace(progress, feed_id=feed_id))
    return feed_id


async def upload(client: Client, body: FeedBody, ask: Ask) -> str:
    """Put the file where Amazon finds it; its document id, good for two days. A repeat leaves a file behind that nobody reads."""
    slot, _ = await client.read("createFeedDocument", DOCUMENTS, {"contentType": CONTENT_TYPE}, ask, Slot)
    await documents.upload(client, slot.url, body.content, CONTENT_TYPE, ask)
    return slot.feed_document_id


async def create(client: Client, document_id: str, store: Marketplace, ask: Ask, before_send: BeforeSend) -> str:
    """Let Amazon begin; its name of the feed. Raises OutcomeUnknown when nobody knows whether it does."""
    await client.pay(LIMIT, ask)
    body = {"feedType": FEED_TYPE, "marketplaceIds": [store.id], "inputFeedDocumentId": document_id}
    created, _ = await client.change("createFeed", "POST", FEEDS, ask, before_send, Created, body=body)
    return created.feed_id


async def sought(
    client: Client, store: Marketplace, asked_at: datetime, known: Collection[str], ask: Ask
) -> Feed | None:
    """The feed that a createFeed without an answer has made; None when there is none that is not `known`.

    It is told by type, marketplace and time. Raises OutcomeUnknown when two might be it.
    """
    found = await made_about(client, FEED_TYPE, store, asked_at, known, ask)
    if len(found) > 1:
        names = ", ".join(feed.feed_id for feed in found)
        raise OutcomeUnknown(f"{len(found)} feeds may be the one that createFeed gave no answer about: {names}.")
    return found[0] if found else None


async def made_about(
    client: Client, feed_type: str, store: Marketplace, asked_at: datetime, known: Collection[str], ask: Ask
) -> list[Feed]:
    """The feeds of a type for one marketplace that a createFeed of that time may have made, apart from those `known`."""
    query: dict[str, str | Sequence[str]] = {
        "feedTypes": [feed_type],
        "marketplaceIds": [store.id],
        "pageSize": "100",
        "createdSince": iso(asked_at - SKEW),
    }
    found: list[Feed] = []
    tokens = Tokens("getFeeds")
    while True:
        page = await client.get("getFeeds", FEEDS, query, ask, Listed)
        found += [
            feed
            for feed in page.feeds
            if feed.feed_id not in known
            and feed.created_time <= asked_at + UNDER_WAY
            and feed.marketplace_ids in ((), (store.id,))
        ]
        if (token := tokens.next(page.next_token)) is None:
            return found
        # It has to stand alone.
        query = {"nextToken": token}


async def feed(client: Client, feed_id: str, ask: Ask) -> Feed:
    """A feed as it stands now."""
    return await client.get("getFeed", f"{FEEDS}/{quote(feed_id, safe='')}", {}, ask, Feed)


async def cancel(client: Client, feed_id: str, ask: Ask, before_send: BeforeSend) -> None:
    """Call a feed back. Amazon does so only before it has begun, and refuses afterward."""
    path = f"{FEEDS}/{quote(feed_id, safe='')}"
    await client.change_unanswered("cancelFeed", "DELETE", path, ask, before_send, status=200)


async def results(client: Client, ended: Feed, items: Sequence[FeedItem], ask: Ask) -> list[FeedResult]:
    """One result for each item of a feed that has ended, in their order.

    DONE says only that there is a report. A message that the report does not account for is UNKNOWN, never a success. Raises
    Transient for a report that cannot be fetched or is about something else.
    """
    if not ended.processing_status.final:
        raise Invalid(f"The feed {ended.feed_id} has not ended: it is {ended.processing_status}.")
    if ended.processing_status is FeedStatus.CANCELLED:
        return [FeedResult(item.reference, item.sku, FeedOutcome.UNTOUCHED) for item in items]
    if ended.result_feed_document_id is None:
        return [FeedResult(item.reference, item.sku, FeedOutcome.UNKNOWN) for item in items]
    told = await report(client, ended, ask)
    try:
        return judged(ended, told, items)
    except Unclear as problem:
        raise Transient(f"The report of the feed {ended.feed_id} cannot be read: {problem}.") from problem


async def report(client: Client, ended: Feed, ask: Ask) -> Report:
    """The processing report. Raises Transient."""
    try:
        return read(Report, parse_json(await report_content(client, ended, ask)))
    except (Unreadable, Unclear) as problem:
        raise Transient(f"The report of the feed {ended.feed_id} cannot be read: {problem}.") from problem


async def report_content(client: Client, ended: Feed, ask: Ask) -> bytes:
    """The processing report as it was written. Raises Transient."""
    path = f"{DOCUMENTS}/{quote(ended.result_feed_document_id or '', safe='')}"
    document = await client.get("getFeedDocument", path, {}, ask, Document)
    if document.compression_algorithm not in (None, "GZIP"):
        raise Transient(f"A report is packed in a way that we do not know: {document.compression_algorithm}.")
    content = bytearray()
    gzipped = document.compression_algorithm is not None
    async for piece in documents.download(client, document.url, gzipped=gzipped, ask=ask):
        content += piece
        if len(content) > REPORT_BYTES:
            raise Transient(f"The report of the feed {ended.feed_id} is larger than {REPORT_BYTES} bytes.")
    return bytes(content)


@dataclass(frozen=True, slots=True)
class Judgment:
    """What a report says: of the whole feed, of each message that it names, and what became of the others."""

    whole: tuple[Finding, ...]
    about: Mapping[int, Sequence[Remark]]
    unnamed: FeedOutcome

    def of(self, number: int) -> tuple[FeedOutcome, tuple[Finding, ...]]:
        """What became of a message, and what is said about it and the whole."""
        told = tuple(one.finding for one in self.about.get(number, ()))
        wrong = any(one.wrong for one in told)
        return FeedOutcome.INVALID if wrong else self.unnamed, (*self.whole, *told)


def judgment(ended: Feed, told: Report, count: int) -> Judgment:
    """What a report says about the `count` messages of a feed. An error of the whole leaves nothing ACCEPTED. Raises Unclear for
    a report of another feed."""
    if told.header.feed_id != ended.feed_id:
        raise Unclear(f"it is that of the feed {told.header.feed_id}")
    about: dict[int, list[Remark]] = {}
    whole = tuple(one.finding for one in told.issues if one.message_id is None)
    for remark in told.issues:
        if remark.message_id is not None:
            about.setdefault(remark.message_id, []).append(remark)
    strange = next((number for number in about if not 1 <= number <= count), None)
    if strange is not None:
        raise Unclear(f"its message {strange} is none of ours")
    wrong = sum(any(one.finding.wrong for one in remarks) for remarks in about.values())
    summary = told.summary
    accounted = (summary.messages_processed, summary.messages_accepted, summary.messages_invalid)
    counted = accounted == (count, count - wrong, wrong)
    complete = ended.processing_status is FeedStatus.DONE and counted and not any(one.wrong for one in whole)
    return Judgment(whole, about, FeedOutcome.ACCEPTED if complete else FeedOutcome.UNKNOWN)


def judged(ended: Feed, told: Report, items: Sequence[FeedItem]) -> list[FeedResult]:
    """The same for each item, in their order. Raises Unclear, also where a message is about another SKU than ours."""
    found = judgment(ended, told, len(items))
    for number, remarks in found.about.items():
        if any(one.sku not in (None, items[number - 1].sku) for one in remarks):
            raise Unclear(f"its message {number} is none of ours")
    return [FeedResult(item.reference, item.sku, *found.of(number)) for number, item in enumerate(items, start=1)]
