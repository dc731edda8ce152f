"""Feeds 2021-06-30. A listings feed waits, is worked through, changes the listings, and leaves a report of what it refused."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon import acknowledgements, adjustments, fulfillments, patches
from sandbox.amazon.auth import Account
from sandbox.amazon.documents import Stored
from sandbox.amazon.errors import denied, not_found, throttled
from sandbox.amazon.marketplaces import ALL_IDS, BY_ID, MARKETPLACES
from sandbox.amazon.operation import Operation
from sandbox.amazon.order_feeds import CONTENT_TYPE, OrderFeed
from sandbox.amazon.query import Query, seal, unseal
from sandbox.amazon.state import Amazon
from sandbox.control import answer, endpoint
from sandbox.journal import iso

LISTINGS = "JSON_LISTINGS_FEED"
ORDER_FEEDS = {one.type: one for one in (acknowledgements.FEED, adjustments.FEED, fulfillments.FEED)}
# Taken out of service in July 2025: still accepted, and never carried out.
_RETIRED = ("POST_PRODUCT_DATA", "POST_INVENTORY_AVAILABILITY_DATA", "POST_PRODUCT_PRICING_DATA")
_STATUSES = ("CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE")
_SEARCH = (
    "feedTypes",
    "marketplaceIds",
    "pageSize",
    "processingStatuses",
    "createdSince",
    "createdUntil",
    "nextToken",
)
_MESSAGES = 25_000
_KEPT = timedelta(days=90)
_DOCUMENT_LIFE_S = 2 * 86_400
_WINDOW_S = 300
_IN_WINDOW = 5
_QUEUE_S = 20
_WORK_S = 40
_VERDICTS = ("CANCELLED", "FATAL", "SHORT")


@dataclass(slots=True)
class Feed:
    """One feed; `report` is the id of its processing report's document."""

    id: str
    account: Account
    kind: str
    codes: list[str]
    document: str
    created_at: datetime
    created_s: float
    status: str = "IN_QUEUE"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    report: str | None = None

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "feedId": self.id,
            "feedType": self.kind,
            "marketplaceIds": [MARKETPLACES[code].id for code in self.codes],
            "createdTime": iso(self.created_at),
            "processingStatus": self.status,
        }
        if self.started_at:
            shown["processingStartTime"] = iso(self.started_at)
        if self.ended_at:
            shown["processingEndTime"] = iso(self.ended_at)
        if self.report:
            shown["resultFeedDocumentId"] = self.report
        return shown


@dataclass(slots=True)
class _Order:
    """What is to become of the next `count` feeds; only the first `messages` of them are worked through."""

    verdict: str
    count: int
    messages: int


@dataclass(slots=True)
class _Tally:
    """A feed's processing report in the making."""

    issues: list[dict[str, Any]] = field(default_factory=list)
    processed: int = 0
    invalid: int = 0

    def note(self, number: object, sku: object, issues: list[dict[str, Any]]) -> None:
        self.processed += 1
        self.invalid += bool(issues)
        for one in issues:
            entry = {"messageId": number, "sku": sku, "code": one["code"], "severity": one["severity"]}
            self.issues.append({**entry, "message": one["message"], "attributeName": one["attributeNames"][0]})


class Feeds:
    """The feeds of all accounts."""

    def __init__(self, amazon: Amazon) -> None:
        self._amazon = amazon
        self._feeds: dict[str, Feed] = {}
        self._owners: dict[str, str] = {}
        self._made_s: dict[str, float] = {}
        self._orders: list[_Order] = []

    def slot(self, account: Account, query: Query, body: object) -> dict[str, Any]:
        """createFeedDocument."""
        content_type = body.get("contentType") if isinstance(body, dict) else None
        if not isinstance(content_type, str) or not content_type:
            raise query.wrong("'contentType' is required.")
        document = self._amazon.documents.slot(content_type)
        self._owners[document] = account.seller
        self._made_s[document] = self._amazon.clock.seconds()
        return {"feedDocumentId": document, "url": self._amazon.documents.address(document)}

    def create(self, account: Account, query: Query, body: object) -> dict[str, Any]:
        """createFeed."""
        now = self._amazon.clock.seconds()
        # Members that it does not know are left aside: clients of many send some with every body.
        if not isinstance(body, dict):
            raise query.wrong("Invalid input")
        kind, codes = str(body.get("feedType")), _codes(account, query, body.get("marketplaceIds"))
        if kind not in (LISTINGS, *ORDER_FEEDS, *_RETIRED):
            raise query.wrong(f"'{kind}' is not a feed type.")
        document = str(body.get("inputFeedDocumentId"))
        stored = self._amazon.documents.stored(document)
        if stored is None or stored.content is None or self._owners.get(document) != account.seller:
            raise query.wrong("'inputFeedDocumentId' is no document with a content.")
        if now - self._made_s.get(document, now) > _DOCUMENT_LIFE_S:
            raise query.wrong("'inputFeedDocumentId' has expired.")
        recent = [one for one in self._feeds.values() if one.account is account and one.kind == kind == LISTINGS]
        if sum(now - one.created_s < _WINDOW_S for one in recent) >= _IN_WINDOW:
            raise throttled()
        feed = Feed(
            id=str(50_000_000_001 + len(self._feeds)),
            account=account,
            kind=kind,
            codes=codes,
            document=document,
            created_at=self._amazon.clock.now(),
            created_s=now,
        )
        self._feeds[feed.id] = feed
        self._amazon.journal.effect(
            "createFeed", feed.id, {"sellerId": account.seller, "feedType": kind, "inputFeedDocumentId": document}
        )
        self._amazon.later(lambda: self._start(feed), _QUEUE_S)
        self._amazon.later(lambda: self._end(feed, stored), _QUEUE_S + _WORK_S)
        return {"feedId": feed.id}

    def get(self, account: Account, feed_id: str) -> dict[str, Any]:
        """getFeed."""
        return self._own(account, feed_id).shown()

    def cancel(self, account: Account, query: Query, feed_id: str) -> None:
        """cancelFeed: only what has not begun."""
        feed = self._own(account, feed_id)
        if feed.status != "IN_QUEUE":
            raise query.wrong(f"The feed is {feed.status}: only one that is IN_QUEUE can be cancelled.")
        self._finish(feed, "CANCELLED")

    def search(self, account: Account, query: Query) -> dict[str, Any]:
        """getFeeds, the newest first. A token of the next page stands alone."""
        if query.has("nextToken"):
            page = unseal(query.needed("nextToken"))
            if page is None or any(query.has(name) for name in _SEARCH[:-1]):
                raise query.wrong("'nextToken' is not valid, or not the only parameter.")
        else:
            page = self._page(query)
        found = [one for one in reversed(self._feeds.values()) if one.account is account and _fits(one, page)]
        end = page["from"] + page["size"]
        shown: dict[str, Any] = {"feeds": [one.shown() for one in found[page["from"] : end]]}
        if end < len(found):
            shown["nextToken"] = seal({**page, "from": end})
        return shown

    def document(self, account: Account, document_id: str) -> dict[str, Any]:
        """getFeedDocument."""
        stored = self._amazon.documents.stored(document_id)
        if stored is None or stored.content is None or self._owners.get(document_id) != account.seller:
            raise not_found("There is no such feed document.")
        shown = {"feedDocumentId": document_id, "url": self._amazon.documents.address(document_id)}
        return {**shown, "compressionAlgorithm": "GZIP"} if stored.gzipped else shown

    def order(self, body: dict[str, Any]) -> dict[str, Any]:
        """What is to become of the next feeds; a count of 0 takes it back."""
        if set(body) - {"verdict", "count", "messages"}:
            raise ValueError('send "verdict", "count" and the number of "messages" that are worked through')
        verdict, count, messages = body.get("verdict"), body.get("count", 1), body.get("messages", 0)
        if verdict not in _VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(_VERDICTS)}")
        if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in (count, messages)):
            raise ValueError("count and messages are whole numbers of 0 or more")
        self._orders = [one for one in self._orders if one.verdict != verdict]
        if count:
            self._orders.append(_Order(str(verdict), count, messages))
        return self.shown()

    def shown(self) -> dict[str, Any]:
        """All feeds, and what is ordered for the next ones."""
        return {
            "feeds": [{**one.shown(), "sellerId": one.account.seller} for one in self._feeds.values()],
            "orders": [{"verdict": o.verdict, "count": o.count, "messages": o.messages} for o in self._orders],
        }

    def _own(self, account: Account, feed_id: str) -> Feed:
        feed = self._feeds.get(feed_id)
        if feed is None or feed.account is not account:
            raise not_found(f"There is no feed {feed_id}.")
        return feed

    def _page(self, query: Query) -> dict[str, Any]:
        kinds = query.csv("feedTypes", most=10)
        if not kinds:
            raise query.wrong("'feedTypes' or 'nextToken' is required.")
        since = query.instant("createdSince") or self._amazon.clock.now() - _KEPT
        until = query.instant("createdUntil") or self._amazon.clock.now()
        return {
            "kinds": kinds,
            "marketplaces": query.csv("marketplaceIds", most=10, among=ALL_IDS),
            "statuses": query.csv("processingStatuses", among=_STATUSES),
            "since": since.isoformat(),
            "until": until.isoformat(),
            "size": query.count("pageSize", 1, 100, 10),
            "from": 0,
        }

    def _ordered(self, verdicts: tuple[str, ...]) -> _Order | None:
        order = next((one for one in self._orders if one.verdict in verdicts), None)
        if order is not None:
            order.count -= 1
            self._orders = [one for one in self._orders if one.count]
        return order

    def _start(self, feed: Feed) -> None:
        if feed.status == "IN_QUEUE" and self._ordered(("CANCELLED",)):
            self._finish(feed, "CANCELLED")
        if feed.status == "IN_QUEUE":
            feed.status, feed.started_at = "IN_PROGRESS", self._amazon.clock.now()

    def _end(self, feed: Feed, stored: Stored) -> None:
        if feed.status != "IN_PROGRESS":
            return
        if (about_orders := ORDER_FEEDS.get(feed.kind)) is not None:
            self._about_orders(feed, about_orders, stored)
            return
        messages = _messages(feed, stored) if feed.kind == LISTINGS else None
        order = self._ordered(("FATAL", "SHORT"))
        if messages is None:
            self._finish(feed, "FATAL")
            return
        tally = _Tally()
        for message in messages[: order.messages if order else None]:
            tally.note(message.get("messageId"), message.get("sku"), self._carried_out(feed, message))
        if order and order.verdict == "FATAL":
            self._finish(feed, "FATAL")
            return
        report = json.dumps(_report(feed, tally), ensure_ascii=False).encode()
        self._done(feed, report, "application/json; charset=UTF-8")

    def _about_orders(self, feed: Feed, kind: OrderFeed, stored: Stored) -> None:
        messages = kind.messages(feed.account, stored.text)
        if messages is None or self._ordered(("FATAL",)):
            self._finish(feed, "FATAL")
            return
        self._done(feed, kind.worked(self._amazon, feed.account, feed.id, messages), CONTENT_TYPE)

    def _done(self, feed: Feed, report: bytes, content_type: str) -> None:
        feed.report = self._amazon.documents.put(report, content_type, gzip=len(report) > 1000)
        self._owners[feed.report] = feed.account.seller
        self._finish(feed, "DONE")

    def _finish(self, feed: Feed, status: str) -> None:
        feed.status, feed.ended_at = status, self._amazon.clock.now()
        self._amazon.notices.finished(feed.account.seller, "feed", feed.id, feed.kind, status, feed.report)

    def _carried_out(self, feed: Feed, message: dict[str, Any]) -> list[dict[str, Any]]:
        if message.get("operationType") != "PATCH":
            words = "The sandbox carries out messages of the operation type PATCH alone."
            return [{"code": "4000003", "severity": "ERROR", "message": words, "attributeNames": ["operationType"]}]
        return patches.from_feed(self._amazon, feed.account, feed.codes, message, feed.id)


def _codes(account: Account, query: Query, ids: object) -> list[str]:
    if not isinstance(ids, list) or not 1 <= len(ids) <= 25 or any(str(one) not in ALL_IDS for one in ids):
        raise query.wrong("'marketplaceIds' must name 1 to 25 marketplaces.")
    codes = [BY_ID[one].code for one in ids if one in BY_ID]
    if len(codes) < len(ids) or any(code not in account.marketplaces for code in codes):
        raise denied()
    return codes


def _fits(feed: Feed, page: dict[str, Any]) -> bool:
    return (
        feed.kind in page["kinds"]
        and datetime.fromisoformat(page["since"]) <= feed.created_at <= datetime.fromisoformat(page["until"])
        and (not page["statuses"] or feed.status in page["statuses"])
        and (
            not page["marketplaces"]
            or any(BY_ID[one].code in feed.codes for one in page["marketplaces"] if one in BY_ID)
        )
    )


def _messages(feed: Feed, stored: Stored) -> list[dict[str, Any]] | None:
    """The messages of a listings feed; None for a file that is none."""
    try:
        told = json.loads(stored.text)
        header, messages = told["header"], told["messages"]
        numbers = [one["messageId"] for one in messages]
        right = header["sellerId"] == feed.account.seller and header["version"] == "2.0"
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    numbered = all(isinstance(one, int) and one >= 1 for one in numbers) and len(set(numbers)) == len(numbers)
    return messages if right and numbered and 1 <= len(messages) <= _MESSAGES else None


def _report(feed: Feed, tally: _Tally) -> dict[str, Any]:
    """Only what has issues is named; the rest is in the counts."""
    return {
        "header": {"sellerId": feed.account.seller, "version": "2.0", "feedId": feed.id},
        "issues": tally.issues,
        "summary": {
            "errors": len(tally.issues),
            "warnings": 0,
            "messagesProcessed": tally.processed,
            "messagesAccepted": tally.processed - tally.invalid,
            "messagesInvalid": tally.invalid,
        },
    }


def feeds_of(amazon: Amazon) -> Feeds:
    """The feeds of this world, the same at each asking."""
    kept: Feeds | None = amazon.areas.get(Feeds)
    if kept is None:
        kept = amazon.areas[Feeds] = Feeds(amazon)
    return kept


def routes(amazon: Amazon) -> list[BaseRoute]:
    """The feeds there are, and what is to become of the next ones."""
    feeds = feeds_of(amazon)

    def shown(_: object) -> dict[str, Any]:
        amazon.settle()
        return feeds.shown()

    return [
        Route("/feeds", endpoint(shown), methods=["GET"]),
        Route("/feeds", answer(feeds.order), methods=["POST"]),
    ]


FEEDS = "/feeds/2021-06-30/feeds"
FEED = FEEDS + "/{feedId}"
DOCUMENTS = "/feeds/2021-06-30/documents"
DOCUMENT = DOCUMENTS + "/{feedDocumentId}"


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""
    feeds = feeds_of(amazon)
    return [
        Operation(
            "createFeedDocument",
            "POST",
            DOCUMENTS,
            lambda asked: feeds.slot(asked.account, asked.query, asked.body),
            code="400",
            status=201,
        ),
        Operation(
            "createFeed",
            "POST",
            FEEDS,
            lambda asked: feeds.create(asked.account, asked.query, asked.body),
            code="400",
            status=202,
        ),
        Operation("getFeeds", "GET", FEEDS, lambda asked: feeds.search(asked.account, asked.query), _SEARCH, "400"),
        Operation("getFeed", "GET", FEED, lambda asked: feeds.get(asked.account, asked.path["feedId"]), (), "400"),
        Operation(
            "cancelFeed",
            "DELETE",
            FEED,
            lambda asked: feeds.cancel(asked.account, asked.query, asked.path["feedId"]),
            (),
            "400",
        ),
        Operation(
            "getFeedDocument",
            "GET",
            DOCUMENT,
            lambda asked: feeds.document(asked.account, asked.path["feedDocumentId"]),
            ("enableContentEncodingUrlHeader",),
            "400",
        ),
    ]
