"""Feeds about orders: what the Orders API cannot do, a file of XML does. Sources: Feeds 2021-06-30; the XML of these feeds, which
has no published model, as sellers have written it for years.

A feed may be made once in two minutes when its burst is used up, so the wishes of a moment share one. A feed does not tell
which file it was made of: what became of a createFeed without an answer is told by the feeds that there are since, and by
their effects.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from adapters.amazon import documents, feeds
from adapters.amazon.client import Client
from adapters.amazon.marketplaces import marketplace
from adapters.errands import Errands
from adapters.port import BeforeSend, Receipt
from domain.budget import Ask
from domain.errors import HouseError, Refused, Transient

log = logging.getLogger(__name__)

T = TypeVar("T")

CONTENT_TYPE = "text/xml; charset=UTF-8"
# How long the first of a feed waits for others, and how many it takes.
GATHER_S = 1.0
MOST = 500
UNREAD_S = 60.0  # how soon a report that cannot be read is fetched again, where one look holds for all
REMEMBERED = 100  # feeds of which we know what they hold, or what was said against it


@dataclass(frozen=True, slots=True)
class FeedKind:
    """One type of feed: Amazon's name of it, the type of its messages, and what we say of one that was not carried out."""

    type: str
    message: str
    failed: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one message: `ended` when Amazon is done with its feed, `refused` where it was not carried out. `named`: the
    report says so of this very message, so that it was in the feed, and not of the whole."""

    ended: bool
    refused: Refused | None = None
    named: bool = False


@dataclass(slots=True)
class _Wish:
    """One message on its way into a feed. Who gave it up is done with, and left out of what is not sent yet; `ready`: its intent
    is kept."""

    message: Element
    number: int | None
    ask: Ask
    before_send: BeforeSend
    sent: asyncio.Future[Receipt]
    ready: bool = False


@dataclass(slots=True)
class OrderFeeds:
    """The feeds of one kind of an account. One look at a feed that Amazon is not done with holds for all of its messages, for
    `look_s` seconds."""

    client: Client
    seller_id: str
    kind: FeedKind
    look_s: float = 0.0
    _waiting: defaultdict[str, list[_Wish]] = field(default_factory=lambda: defaultdict(list))
    _errands: Errands = field(default_factory=Errands)
    _reports: OrderedDict[str, Mapping[int, str]] = field(default_factory=OrderedDict)
    _made: OrderedDict[str, frozenset[int]] = field(default_factory=OrderedDict)
    _open_until: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _unread: OrderedDict[str, tuple[float, str]] = field(default_factory=OrderedDict)
    _looking: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def send(
        self, code: str, message: Element, ask: Ask, before_send: BeforeSend, *, number: int | None = None
    ) -> Receipt:
        """Send a message with the others of this moment for the marketplace (a country code); the receipt's reference is
        "feed/number". Without a `number` of its own it has that of its place. Raises what createFeed raises."""
        wish = _Wish(message, number, ask, before_send, asyncio.get_running_loop().create_future())
        waiting = self._waiting[code]
        waiting.append(wish)
        if len(waiting) == 1:
            self._errands.start(self._depart(code))
        return await wish.sent

    async def send_all(
        self, code: str, messages: Sequence[tuple[int, Element]], ask: Ask, before_send: BeforeSend
    ) -> Receipt:
        """Send these under their numbers as one feed, at once; the receipt's reference is the feed's. Raises what createFeed
        raises, and Transient and Refused before anything was sent."""
        created, request_id = await self._create(code, messages, ask, before_send)
        return Receipt(request_id, created.feed_id)

    async def verdict(self, sent_as: str, ask: Ask) -> Verdict:
        """What became of what was `sent_as` "feed/number". A report is fetched once for all of its messages, and one look at a
        feed that is still worked at holds for all of them."""
        feed_id, _, number = sent_as.partition("/")
        async with self._looking[feed_id]:
            try:
                return await self._verdict(feed_id, number, ask)
            finally:
                # Who waits has it in hand; it is gone with the last of them.
                self._looking.pop(feed_id, None)

    async def _verdict(self, feed_id: str, number: str, ask: Ask) -> Verdict:
        told = self._reports.get(feed_id)
        if told is None:
            if time.monotonic() < self._open_until.get(feed_id, 0.0):
                return Verdict(ended=False)
            ended = await feeds.feed(self.client, feed_id, ask)
            if not ended.processing_status.final:
                _remember(self._open_until, feed_id, time.monotonic() + self.look_s)
                return Verdict(ended=False)
            if ended.processing_status is feeds.FeedStatus.CANCELLED:
                words = f"The feed {feed_id} was called back, and nothing of it was carried out; retry the operation."
                return Verdict(ended=True, refused=Refused(words))
            if ended.result_feed_document_id is None:
                return Verdict(ended=True)
            told = await self._report(ended, ask)
            _remember(self._reports, feed_id, told)
        named, said = int(number) in told, told.get(int(number)) or told.get(0)
        return Verdict(True, None if said is None else Refused(f"{self.kind.failed}: {said}"), named)

    async def _report(self, ended: feeds.Feed, ask: Ask) -> Mapping[int, str]:
        """What the report says against messages. One that cannot be read is not fetched again for each of them."""
        until, words = self._unread.get(ended.feed_id, (0.0, ""))
        if time.monotonic() < until:
            raise Transient(words)
        try:
            return failures(ended.feed_id, await feeds.report_content(self.client, ended, ask))
        except Transient as problem:
            _remember(self._unread, ended.feed_id, (time.monotonic() + UNREAD_S * (self.look_s > 0), problem.message))
            raise

    async def suspects(
        self, code: str, number: int, asked_at: datetime, apart: Collection[str], ask: Ask
    ) -> list[feeds.Feed]:
        """The feeds in which a message may be whose createFeed, asked at that time, had no answer: all that were made then, but
        for those `apart`, those of which we know that it is not in them, and those that were called back."""
        found = await feeds.made_about(self.client, self.kind.type, marketplace(code), asked_at, apart, ask)
        return [one for one in found if self.may_hold(one, number)]

    def may_hold(self, one: feeds.Feed, number: int) -> bool:
        """Whether a message may be in a feed, as far as we know what it was made of, and may have taken effect."""
        known = self._made.get(one.feed_id)
        return (known is None or number in known) and one.processing_status is not feeds.FeedStatus.CANCELLED

    async def _depart(self, code: str) -> None:
        await asyncio.sleep(GATHER_S)
        waiting = self._waiting.pop(code, [])
        for start in range(0, len(waiting), MOST):
            wishes = waiting[start : start + MOST]
            try:
                await self._send(code, wishes)
            except HouseError as problem:
                _fail(wishes, problem)
            except Exception as problem:
                log.exception(
                    "feed.failed",
                    extra={"channel": self.client.channel, "type": self.kind.type, "messages": len(wishes)},
                )
                _fail(wishes, problem)

    async def _send(self, code: str, wishes: list[_Wish]) -> None:
        """One feed. Whoever may not send any more is left out of it, and the rest is written anew."""
        ask = Ask(wishes[0].ask.priority, max(one.ask.deadline or 0.0 for one in wishes) or None, wishes[0].ask.bill)
        while wishes := [one for one in wishes if not one.sent.done()]:
            numbers = [place if one.number is None else one.number for place, one in enumerate(wishes, start=1)]
            messages = list(zip(numbers, (one.message for one in wishes), strict=True))
            try:
                created, request_id = await self._create(code, messages, ask, lambda: _all_ready(wishes))
            except _LeftOutError:
                continue
            for number, one in zip(numbers, wishes, strict=True):
                if not one.sent.done():
                    one.sent.set_result(Receipt(request_id, f"{created.feed_id}/{number}"))

    async def _create(
        self, code: str, messages: Sequence[tuple[int, Element]], ask: Ask, before_send: BeforeSend
    ) -> tuple[feeds.Created, str | None]:
        """A document, its upload, createFeed; Amazon's name of the feed, and its id of the last call."""
        slot, _ = await self.client.read(
            "createFeedDocument", feeds.DOCUMENTS, {"contentType": CONTENT_TYPE}, ask, feeds.Slot
        )
        content = envelope(self.seller_id, self.kind, messages)
        await documents.upload(self.client, slot.url, content, CONTENT_TYPE, ask)
        told = {
            "feedType": self.kind.type,
            "marketplaceIds": [marketplace(code).id],
            "inputFeedDocumentId": slot.feed_document_id,
        }
        created, request_id = await self.client.change(
            "createFeed", "POST", feeds.FEEDS, ask, before_send, feeds.Created, body=told
        )
        _remember(self._made, created.feed_id, frozenset(number for number, _ in messages))
        return created, request_id


class _LeftOutError(Exception):
    """Somebody in the file may not send any more."""


async def _all_ready(wishes: Sequence[_Wish]) -> None:
    fresh = [one for one in wishes if not one.ready]
    answers = await asyncio.gather(*(one.before_send() for one in fresh), return_exceptions=True)
    for one, answer in zip(fresh, answers, strict=True):
        if isinstance(answer, BaseException) and not one.sent.done():
            one.sent.set_exception(answer)
        else:
            one.ready = True
    if any(one.sent.done() for one in wishes):
        raise _LeftOutError


def _fail(wishes: Sequence[_Wish], problem: Exception) -> None:
    for one in wishes:
        if not one.sent.done():
            one.sent.set_exception(problem)


def _remember(kept: OrderedDict[str, T], feed_id: str, what: T) -> None:
    kept[feed_id] = what
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)


def envelope(seller_id: str, kind: FeedKind, messages: Iterable[tuple[int, Element]]) -> bytes:
    """The file: each message under its number."""
    root = Element("AmazonEnvelope")
    header = SubElement(root, "Header")
    SubElement(header, "DocumentVersion").text = "1.01"
    SubElement(header, "MerchantIdentifier").text = seller_id
    SubElement(root, "MessageType").text = kind.message
    for number, one in messages:
        message = SubElement(root, "Message")
        SubElement(message, "MessageID").text = str(number)
        message.append(one)
    told: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return told


def failures(feed_id: str, content: bytes) -> dict[int, str]:
    """What a processing report says against each message, in Amazon's words; 0 stands for all of them. Raises Transient."""
    try:
        report = _report(content)
        if report is not None and report.findtext("DocumentTransactionID") == feed_id:
            return {
                int(one.findtext("MessageID", "0")): _words(one)
                for one in report.iter("Result")
                if one.findtext("ResultCode") == "Error"
            }
    except (ElementTree.ParseError, ValueError) as problem:
        raise Transient(f"The report of the feed {feed_id} cannot be read: {problem}.") from problem
    raise Transient(f"What should be the report of the feed {feed_id} is none, or is that of another one.")


def _report(content: bytes) -> Element | None:
    """None for what is no processing report, or declares entities of its own: Amazon's never do."""
    if b"<!DOCTYPE" in content:
        return None
    return ElementTree.fromstring(content).find(".//ProcessingReport")  # noqa: S314  without entities, bounded in size


def _words(result: Element) -> str:
    said, code = result.findtext("ResultDescription", "Amazon does not say why."), result.findtext("ResultMessageCode")
    return said.strip()[:500] + (f" ({code})" if code else "")
