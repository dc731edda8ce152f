"""Outgoing webhooks: events become deliveries, and deliveries are sent, signed, until they are taken.

Of one object a later event never overtakes an earlier one that waits; everything else goes side by side, so many at a time to
one endpoint, and more while it takes all of it. One that fails is tried alone and with growing rests, and slows down nobody else.
What has come to its end is noted in one transaction, what goes next is claimed in one, and meanwhile the sending goes on. The
rows decide everything: who dies leaves leases behind, and what was sent and not noted is sent again under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.outside import Guard, Outside, excerpt, retry_after_s
from adapters.transport import Answer
from domain.errors import HouseError, Invalid
from domain.feed import secret_bytes, sign
from domain.webhook import (
    LONGEST_WAIT_S,
    MOST_BYTES,
    TEST,
    TOPICS,
    Attempt,
    Delivery,
    Topic,
    Verdict,
    Webhook,
    WebhookFormat,
    envelope,
    flat,
    may_read,
    verdict,
)
from store import webhook, webhook_data, webhook_delivery, webhook_sending
from store.session import UNAVAILABLE, unavailable
from store.webhook import LEASE_S, Due, seal_name
from store.webhook_data import Sight
from store.webhook_delivery import SPREAD_AT_ONCE
from store.webhook_sending import Outcome
from workers.backoff import jittered
from workers.crash import point
from workers.deps import Deps
from workers.watch import end

log = logging.getLogger(__name__)

AT_ONCE = 8
# To one that takes what it is sent; only while no more than half of all that may be are under way.
MOST_TO_ONE = 64
# At once to all of them together: each is a connection, and has a body in memory.
MOST_AT_ONCE = 500
# Deliveries are made so often before the next look at what is to be sent.
SPREADS = 10
TIMEOUT_S = 15.0
FIRST_REST_S = 2.0
LONGEST_REST_S = 300.0
# So often in a row, and it is tried with one delivery at a time.
WEAK = 3
# What the envelope takes beside the data.
AROUND_BYTES = 1_500


async def tell(deps: Deps, pulse: Callable[[], None]) -> None:
    """Tell the webhooks for ever."""
    outside = Outside(Guard(deps.webhooks.reach))
    try:
        await WebhooksOut(deps, pulse, outside).run()
    finally:
        await outside.close()


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A delivery as it goes out: what it tells, where, and the keys that sign it."""

    webhook: Webhook
    delivery: Delivery
    keys: tuple[bytes, ...] = field(repr=False)
    data: str = field(repr=False)


@dataclass(slots=True)
class WebhooksOut:
    """Makes deliveries and sends them. `pulse` is called after each look."""

    deps: Deps
    pulse: Callable[[], None]
    outside: Outside
    most_at_once: int = MOST_AT_ONCE
    spreads: int = SPREADS
    spread_at_once: int = SPREAD_AT_ONCE
    under_way: dict[asyncio.Task[Outcome], _Parcel] = field(default_factory=dict)
    # How many go at once to those that took all of late.
    room: dict[str, int] = field(default_factory=dict)
    # Who was served last: where not all can be, the next look goes on behind it.
    served: str = ""

    async def run(self) -> None:
        """For ever. Between looks at most a sweep's time passes, and less while something comes to its end."""
        try:
            while True:
                more = await self.once()
                self.pulse()
                if more:
                    continue
                if self.under_way:
                    done = asyncio.FIRST_COMPLETED
                    await asyncio.wait(self.under_way, timeout=self.deps.timing.sweep_s, return_when=done)
                else:
                    await asyncio.sleep(self.deps.timing.sweep_s)
        finally:
            await end(self.under_way)
            # Else it would be sent once more.
            await self._record_ended()

    async def once(self) -> bool:
        """One look: deliveries are made for what has happened, what has ended is noted, and as many as may be at once are set on
        their way. True where there may be more to make: events can come faster than a thousand webhooks are served, and
        sending waits for no last one."""
        more = await self._spread()
        await self._record_ended()
        await self._send_next()
        return more

    async def settled(self) -> None:
        """Wait until nothing is under way, and note it."""
        while self.under_way:
            await asyncio.wait(self.under_way)
            await self._record_ended()

    async def _spread(self) -> bool:
        for _ in range(self.spreads):
            async with self.deps.store.begin() as tx:
                more = await webhook_delivery.spread(tx, self.spread_at_once)
                point("before_spread_commit")
            if not more:
                return False
            if any(task.done() for task in self.under_way):
                break
        return True

    async def _send_next(self) -> None:
        """Claim as many as may go, and let them go."""
        parcels: list[_Parcel] = []
        broken: list[Outcome] = []
        async with self.deps.store.begin() as tx:
            keyless = await webhook.keyless(tx)
            waiting = {one.webhook.id: one for one in await webhook.due(tx)}
            keys = {id: self._keys(one) for id, one in waiting.items()}
            # What has ended by now and is not noted yet takes nobody's room.
            busy = Counter(parcel.webhook.id for task, parcel in self.under_way.items() if not task.done())
            turns = [id for id in sorted(waiting, key=lambda id: (id <= self.served, id)) if keys[id]]
            while asked := self._asked([waiting[id] for id in turns], busy):
                turns = [id for id in turns if id not in asked]
                self.served = next(reversed(asked))
                claimed = await webhook_sending.claim(tx, asked, LEASE_S)
                data = await self._data(tx, waiting, claimed, broken)
                for one in claimed:
                    if (text := data.get((one.webhook, one.id))) is not None:
                        parcels.append(_Parcel(waiting[one.webhook].webhook, one, keys[one.webhook], text))
                        busy[one.webhook] += 1
        point("after_webhook_claim")
        for parcel in parcels:
            self.under_way[asyncio.create_task(self._deliver(parcel))] = parcel
        await self._record(broken)
        sealed = {id: f"Its secret cannot be opened with ACORN_KEYS ({seal_name(id)})." for id in keys if not keys[id]}
        for id, reason in (dict.fromkeys(keyless, webhook.NO_KEY) | sealed).items():
            # One by one: deliveries were locked above, and locks of webhooks come before those.
            async with self.deps.store.begin() as tx:
                await webhook.give_up(tx, id, reason)

    def _asked(self, waiting: Sequence[Due], busy: Counter[str]) -> dict[str, tuple[int, bool]]:
        """Of which how many may be claimed, in their turn; and whether only tests."""
        left = self.most_at_once - busy.total()
        beyond = self.most_at_once // 2 - busy.total()
        asked: dict[str, tuple[int, bool]] = {}
        for one in waiting:
            id = one.webhook.id
            room = self.room.get(id, AT_ONCE) if one.webhook.failures < WEAK else 1
            usual = max(0, min(room, AT_ONCE) - busy[id])
            more = max(0, min(room - max(busy[id], AT_ONCE), beyond - usual))
            if (free := min(left, usual + more)) > 0:
                asked[id] = free, one.testing
                left -= free
                beyond -= free
        return asked

    def _keys(self, one: Due) -> tuple[bytes, ...]:
        """What signs, the newest first; nothing when it cannot be opened."""
        name = seal_name(one.webhook.id)
        try:
            return tuple(secret_bytes(self.deps.ring.open(name, sealed)) for sealed in one.sealed)
        except (HouseError, ValueError) as problem:
            log.warning("webhook.sealed", extra={"webhook": one.webhook.id, "reason": type(problem).__name__})
            return ()

    async def _data(
        self, tx: AsyncConnection, waiting: Mapping[str, Due], claimed: Sequence[Delivery], broken: list[Outcome]
    ) -> Mapping[tuple[str, str], str]:
        """What each delivery tells, read now where nobody has; none of what its maker may not read any more, nor of what cannot
        be read: that joins `broken`."""
        found = {(one.webhook, one.id): one.data for one in claimed if one.data is not None}
        missing: defaultdict[str, set[str]] = defaultdict(set)
        for one in claimed:
            if one.data is None:
                missing[one.type].add(_subject(one))
        told: dict[tuple[str, str], str] = {}
        for type, subjects in missing.items():
            texts = await self._read(tx, type, sorted(subjects))
            told |= {(type, subject): text for subject, text in texts.items()}
        read: dict[tuple[str, str], str] = {}
        ended: list[Delivery] = []
        for one in claimed:
            key = one.webhook, one.id
            try:
                text = one.data or told[one.type, _subject(one)]
                if one.type != TEST and not may_read(TOPICS[one.type], orjson.loads(text), waiting[one.webhook].scopes):
                    ended.append(one)
                    found.pop(key, None)
                elif one.data is None:
                    read[key] = text
            except Exception:
                found.pop(key, None)
                broken.append(self._broke(one))
        await webhook_sending.unreadable(tx, ended)
        await webhook_sending.keep_data(tx, read)
        return found | read

    async def _read(self, tx: AsyncConnection, type: str, subjects: Sequence[str]) -> dict[str, str]:
        """What is told of each of `subjects` now, as JSON. One that cannot be read is missing, and keeps none of the others from
        being read."""
        try:
            topic, sight = TOPICS[type], Sight(self.deps.locations, self.deps.safety_stock)
            with unavailable():
                async with tx.begin_nested():
                    found = await webhook_data.read(tx, topic, subjects, sight, self.deps.clock())
            return {one: _text(topic, one, found[one]) for one in subjects}
        except UNAVAILABLE:
            raise
        except Exception:
            if len(subjects) == 1:
                log.exception("webhook.unreadable", extra={"event": type, "subject": subjects[0]})
                return {}
        half = len(subjects) // 2
        return await self._read(tx, type, subjects[:half]) | await self._read(tx, type, subjects[half:])

    async def _deliver(self, parcel: _Parcel) -> Outcome:
        """Send once; what came of it, whatever that is."""
        try:
            return await self._send(parcel)
        except Exception:
            return self._broke(parcel.delivery)

    async def _send(self, parcel: _Parcel) -> Outcome:
        at, began = self.deps.clock(), time.monotonic()
        answer: Answer | None = None
        problem: str | None = None
        try:
            answer = await self._post(parcel)
        except Invalid as refused:
            problem = refused.message
        except (HouseError, TimeoutError) as lost:
            problem = lost.message if isinstance(lost, HouseError) else f"There was no answer in {TIMEOUT_S:g} s."
        point("after_webhook_send")
        milliseconds = round((time.monotonic() - began) * 1000)
        status = None if answer is None else answer.status
        said = verdict(status)
        told = None if answer is None or said is Verdict.TAKEN else excerpt(answer)
        attempt = Attempt(parcel.delivery.attempts, at, milliseconds, status, problem, told)
        if said not in (Verdict.SLOW, Verdict.REFUSED):
            return Outcome(parcel.delivery, attempt, said)
        wait_s = 0.0 if answer is None else retry_after_s(answer.headers, LONGEST_WAIT_S)
        rest_s = jittered(parcel.webhook.failures + 1, first_s=FIRST_REST_S, most_s=LONGEST_REST_S)
        rest_s = max(wait_s, rest_s) if said is Verdict.SLOW else 0.0
        return Outcome(parcel.delivery, attempt, said, _share(), wait_s, rest_s)

    def _broke(self, one: Delivery) -> Outcome:
        """For an exception that nobody foresaw, while it is being handled: the log tells it; this delivery alone is put off."""
        log.exception("webhook.broken", extra={"webhook": one.webhook, "delivery": one.id})
        attempt = Attempt(
            one.attempts, self.deps.clock(), 0, None, "It could not be sent; the gateway's log tells why."
        )
        return Outcome(one, attempt, Verdict.REFUSED, _share())

    async def _record_ended(self) -> None:
        ended = [task for task in self.under_way if task.done()]
        for task in ended:
            del self.under_way[task]
        await self._record([task.result() for task in ended if not task.cancelled()])

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        """Note what came of tries, all at once; one by one where that fails for a reason that nobody foresaw. While the database
        is away nothing is noted: the leases bring it back."""
        if not outcomes:
            return
        try:
            async with self.deps.store.begin() as tx:
                await webhook_sending.record(tx, outcomes)
                point("inside_webhook_record")
        except UNAVAILABLE as away:
            for one in outcomes:
                extra = {"webhook": one.delivery.webhook, "delivery": one.delivery.id}
                log.warning("webhook.unnoted", extra=extra | {"reason": type(away).__name__})
            return
        except Exception:
            if len(outcomes) == 1:
                [one] = outcomes
                log.exception("webhook.unnoted", extra={"webhook": one.delivery.webhook, "delivery": one.delivery.id})
                return
            for one in outcomes:
                await self._record([one])
            return
        point("after_webhook_record")
        for one in outcomes:
            self._learn(one)

    def _learn(self, one: Outcome) -> None:
        id, good = one.delivery.webhook, one.verdict is Verdict.TAKEN
        if good:
            self.room[id] = min(MOST_TO_ONE, self.room.get(id, AT_ONCE) + 1)
        else:
            self.room.pop(id, None)
        extra = {
            "webhook": id,
            "delivery": one.delivery.id,
            "status": one.attempt.status,
            "reason": one.attempt.problem,
        }
        log.log(
            logging.INFO if good else logging.WARNING,
            "webhook.sent",
            extra=extra | {"milliseconds": one.attempt.milliseconds},
        )

    async def _post(self, parcel: _Parcel) -> Answer:
        one = parcel.delivery
        if parcel.webhook.format is WebhookFormat.FLAT:
            type, told = "application/json", flat(one, orjson.loads(parcel.data))
        else:
            type = "application/cloudevents+json"
            told = envelope(one, self.deps.webhooks.source, orjson.Fragment(parcel.data))
        body = orjson.dumps(told)
        timestamp = int(self.deps.clock().timestamp())
        headers = {
            "content-type": type,
            "user-agent": "acorn-gateway",
            "webhook-id": one.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(sign(key, one.id, timestamp, body) for key in parcel.keys),
        }
        return await self.outside.post(parcel.webhook.url, headers, body, TIMEOUT_S)


def _subject(one: Delivery) -> str:
    return one.object.partition(":")[2]


def _text(topic: Topic, subject: str, told: Mapping[str, Any]) -> str:
    text = orjson.dumps(told)
    if len(text) + AROUND_BYTES > MOST_BYTES:
        text = orjson.dumps(webhook_data.thin(topic, subject))
    return text.decode()


def _share() -> float:
    return random.random()  # noqa: S311 - spreads load, hides nothing
