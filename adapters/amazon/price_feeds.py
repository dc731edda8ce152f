"""Feeds of prices: sent once, found again where the answer was lost, and asked for what became of each row.

createFeed takes no key of ours, and what it answers is all that tells a feed from others. So the intent leaves on each row when
the feed was asked for, and as which of how many messages: with that, whoever finds the row later looks for a feed of that time
that nobody accounts for. Source: Feeds 2021-06-30.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from adapters.amazon import feeds
from adapters.amazon.client import Client
from adapters.amazon.feeds import FeedItem, FeedOutcome, FeedStatus, Judgment
from adapters.amazon.listings_submissions import declined
from adapters.amazon.marketplaces import marketplace
from adapters.budget import Budgets
from adapters.port import Receipt
from adapters.prices import IN_DOUBT, Intend, PriceSent, PriceVerdict
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import HouseError, OutcomeUnknown, Refused, Transient

MESSAGE = "message"
"""In the detail of a row: its number among the messages of its feed, and how many there are: "12/5000"."""

LOOK_S = 20.0
REMEMBERED = 50  # feeds of which we know what was said


@dataclass(frozen=True, slots=True)
class Ended:
    """A feed that is over: what its report says, None where it left none; `refused` where it was called back."""

    judgment: Judgment | None
    refused: Refused | None = None


@dataclass(slots=True)
class PriceFeeds:
    """The feeds of prices of an account."""

    client: Client
    seller_id: str
    budgets: Budgets
    _ended: OrderedDict[str, Ended] = field(default_factory=OrderedDict)

    async def send(self, items: Sequence[FeedItem], ask: Ask, intend: Intend) -> list[Receipt]:
        """Send as many of the first items as one file takes, all of one marketplace; a receipt for each of those, whose reference
        is "feed/message". Raises what createFeed raises."""
        body = next(feeds.bodies(self.seller_id, items))
        document = await feeds.upload(self.client, body, ask)
        count = len(body.items)

        async def before_send() -> None:
            asked_at = datetime.now(UTC).isoformat()
            numbered = enumerate(body.items, start=1)
            await intend({one.reference: {IN_DOUBT: asked_at, MESSAGE: f"{n}/{count}"} for n, one in numbered})

        feed_id = await feeds.create(self.client, document, marketplace(body.marketplace), ask, before_send)
        return [Receipt(None, f"{feed_id}/{number}") for number in range(1, count + 1)]

    async def verdicts(
        self, sent: Sequence[PriceSent], known: Collection[str], ask: Ask
    ) -> list[PriceVerdict | HouseError]:
        """What became of each; nothing of what went by no feed. See `adapters.prices.PriceVerdicts`."""
        names = await self._names(sent, known, ask)
        states: dict[str, Ended | HouseError | None] = {}
        verdicts: list[PriceVerdict | HouseError] = []
        for one in sent:
            name = _named(one) or names.get(_asked(one))
            if name is None:
                verdicts.append(PriceVerdict())
                continue
            if isinstance(name, HouseError):
                verdicts.append(name)
                continue
            if name not in states:
                states[name] = await self._state(name, one, ask)
            verdicts.append(_verdict(one, name, states[name]))
        return verdicts

    async def _names(
        self, sent: Sequence[PriceSent], known: Collection[str], ask: Ask
    ) -> dict[tuple[str, str], str | HouseError]:
        """By marketplace and time of asking: the feed that was made then of which there was no answer; missing where there is
        none."""
        accounted = {name.partition("/")[0] for name in known}
        names: dict[tuple[str, str], str | HouseError] = {}
        for code, asked_at in sorted({_asked(one) for one in sent if IN_DOUBT in one.detail and not one.sent_as}):
            try:
                at = datetime.fromisoformat(asked_at)
                found = await feeds.sought(self.client, marketplace(code), at, accounted, ask)
            except HouseError as problem:
                names[code, asked_at] = problem
            else:
                if found is not None:
                    names[code, asked_at] = found.feed_id
        return names

    async def _state(self, feed_id: str, one: PriceSent, ask: Ask) -> Ended | HouseError | None:
        """What became of a feed; None while Amazon is at it."""
        try:
            return self._ended.get(feed_id) or await self._end(feed_id, one, ask)
        except HouseError as problem:
            return problem

    async def _end(self, feed_id: str, one: PriceSent, ask: Ask) -> Ended | None:
        feed = await feeds.feed(self.client, feed_id, ask)
        if not feed.processing_status.final:
            return None
        if feed.processing_status is FeedStatus.CANCELLED:
            words = f"The feed {feed_id} was called back, and nothing of it was carried out; retry the operation."
            ended = Ended(None, Refused(words))
        elif feed.result_feed_document_id is None:
            ended = Ended(None)
        else:
            report = await feeds.report(self.client, feed, ask)
            try:
                ended = Ended(feeds.judgment(feed, report, int(one.detail[MESSAGE].partition("/")[2])))
            except Unclear as problem:
                raise Transient(f"The report of the feed {feed_id} cannot be read: {problem}.") from problem
            took = datetime.now(UTC) - datetime.fromisoformat(one.detail[IN_DOUBT])
            await self.budgets.usual.took(self.client.channel, feeds.FEED_TYPE, took.total_seconds())
        self._ended[feed_id] = ended
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        return ended


def _named(one: PriceSent) -> str | None:
    """The feed that carries it, where that is known and it is one."""
    return one.sent_as.partition("/")[0] if one.sent_as and IN_DOUBT in one.detail else None


def _asked(one: PriceSent) -> tuple[str, str]:
    return one.write.key.marketplace or "", one.detail.get(IN_DOUBT, "")


def _verdict(one: PriceSent, feed_id: str, ended: Ended | HouseError | None) -> PriceVerdict | HouseError:
    number = one.detail[MESSAGE].partition("/")[0]
    sent_as = f"{feed_id}/{number}"
    if isinstance(ended, HouseError):
        return ended
    if ended is None:
        return PriceVerdict(again_s=LOOK_S, sent_as=sent_as)
    if ended.judgment is None:
        return PriceVerdict(refused=ended.refused, sent_as=sent_as)
    if any(remark.sku not in (None, one.write.key.channel_sku) for remark in ended.judgment.about.get(int(number), ())):
        # A feed that was taken for ours by its time, and is somebody else's: it tells nothing of the row.
        return OutcomeUnknown(f"The message {number} of the feed {feed_id} is about another SKU.")
    outcome, said = ended.judgment.of(int(number))
    wrong = outcome is FeedOutcome.INVALID
    refused = declined(f"the price of {one.write.key.channel_sku}", said, None) if wrong else None
    return PriceVerdict(refused=refused, sent_as=sent_as)
