"""Outgoing webhooks: whose they are, what they are told, and how that goes. Only who made one, or an administrator, sees it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from secrets import token_bytes
from typing import Any

from domain.errors import Conflict, Invalid, NotFound
from domain.feed import SECRET
from domain.webhook import (
    MOST_PER_NAME,
    Attempt,
    Delivery,
    DeliveryState,
    NewWebhook,
    Webhook,
    WebhookFormat,
    WebhookState,
    check_overlap,
    flat,
    object_of,
    topic,
)
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, read_place, write_cursor
from resolvers.shelf import Shelf
from store import api_key, webhook, webhook_data, webhook_delivery
from store.webhook_data import Sight

OVERLAP = timedelta(days=1)
BY_HAND = "It was paused by hand."


@dataclass(frozen=True, slots=True)
class Maker:
    """Who asks: the name of the key, and what it may do."""

    name: str
    scopes: frozenset[str]

    @property
    def only(self) -> str | None:
        """Whose webhooks there are for this one; None: all."""
        return None if "admin" in self.scopes else self.name


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be otherwise; None leaves it."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    channels: tuple[Any, ...] | None = None
    skus: tuple[str, ...] | None = None
    format: WebhookFormat | None = None
    state: WebhookState | None = None
    skip_missed: bool = False


async def all_of(shelf: Shelf, by: Maker) -> list[Webhook]:
    """All that they may see, oldest first."""
    async with shelf.store.begin() as tx:
        return await webhook.all_of(tx, by.only)


async def by_id(shelf: Shelf, by: Maker, id: str) -> Webhook | None:
    """One; None when there is none that they may see."""
    return next((one for one in await all_of(shelf, by) if one.id == id), None)


async def create(shelf: Shelf, by: Maker, new: NewWebhook) -> tuple[Webhook, str]:
    """(the webhook, its secret, which is told here and never again). Raises Invalid."""
    await _check(shelf, by, new)
    id, secret = webhook.new_id(), _new_secret()
    sealed = shelf.ring.seal(webhook.seal_name(id), secret)
    async with shelf.store.begin() as tx:
        if not await api_key.scopes_of(tx, by.name):
            raise Invalid("Make webhooks with an API key: a token ends too soon, and they end with it.")
        if len(await webhook.all_of(tx, by.name)) >= MOST_PER_NAME:
            raise Invalid(f"There are {MOST_PER_NAME} webhooks of {by.name} already; delete one first.")
        return await webhook.create(tx, id, new, by.name, sealed), secret


async def update(shelf: Shelf, by: Maker, id: str, change: Change) -> Webhook:
    """Change what is asked for, then pause or resume. Raises NotFound, Invalid, and Conflict as `store.webhook.resume`.

    What is resumed after its keys have ended belongs to `by`, whose key answers for it from now on.
    """
    async with shelf.store.begin() as tx:
        before = await webhook.lock(tx, id, by.only)
    wanted = _changed(before, change)
    # One is paused although its name leads nowhere any more, or the key may no longer read what it tells.
    if change.state is not WebhookState.PAUSED or wanted != _changed(before, Change()):
        await _check(shelf, by, wanted)
    async with shelf.store.begin() as tx:
        one = await webhook.lock(tx, id, by.only)
        # Somebody else may have changed it while we looked the address up.
        if _changed(one, change) != wanted:
            raise Conflict("It was changed by somebody else just now; look at it, and try again.", field=("id",))
        one = await webhook.change(tx, id, wanted)
        match change.state:
            case WebhookState.PAUSED:
                return await webhook.pause(tx, id, BY_HAND)
            case WebhookState.ACTIVE:
                living = await api_key.scopes_of(tx, one.made_by)
                made_by = one.made_by if living else by.name
                return await webhook.resume(tx, one, made_by, skip_missed=change.skip_missed)
            case None:
                return one


async def delete(shelf: Shelf, by: Maker, id: str) -> Webhook:
    """Forget it, with its deliveries. Raises NotFound."""
    async with shelf.store.begin() as tx:
        one = await webhook.lock(tx, id, by.only)
        await webhook.remove(tx, id)
    return one


async def rotate(shelf: Shelf, by: Maker, id: str, overlap: timedelta | None) -> tuple[Webhook, str]:
    """(the webhook, its new secret); the one before signs too for `overlap`, a day where None. Raises NotFound, Invalid."""
    lasts, secret = check_overlap(OVERLAP if overlap is None else overlap), _new_secret()
    sealed = shelf.ring.seal(webhook.seal_name(id), secret)
    async with shelf.store.begin() as tx:
        await webhook.lock(tx, id, by.only)
        return await webhook.rotate(tx, id, sealed, lasts), secret


async def replay(shelf: Shelf, by: Maker, id: str, after: str | None, since: datetime | None) -> Webhook:
    """Tell all after a cursor, or since an instant, once more. Raises NotFound, Invalid, Conflict."""
    if (after is None) == (since is None):
        raise Invalid("Tell one of `after` and `since`.", field=("after",))
    async with shelf.store.begin() as tx:
        one = await webhook.lock(tx, id, by.only)
        if after is not None:
            return await webhook.replay(tx, one, read_place(after))
        assert since is not None
        return await webhook.replay(tx, one, min(one.seq, await webhook.place_before(tx, since)))


async def test(shelf: Shelf, by: Maker, id: str) -> Delivery:
    """Deliver an event that tells nothing. Raises NotFound."""
    async with shelf.store.begin() as tx:
        return await webhook_delivery.test(tx, await webhook.lock(tx, id, by.only))


async def again(shelf: Shelf, by: Maker, key: str) -> Delivery:
    """Deliver one once more; `key` is `<webhook>/<delivery>`. Raises NotFound, Conflict."""
    id, _, delivery = key.partition("/")
    async with shelf.store.begin() as tx:
        return await webhook_delivery.again(tx, await webhook.lock(tx, id, by.only), delivery)


async def deliveries(
    shelf: Shelf, id: str, first: int | None, after: str | None, state: DeliveryState | None
) -> Connection[Delivery]:
    """Deliveries, newest first."""
    start = _read_start(after)
    async with shelf.store.begin() as tx:
        found, more = await webhook_delivery.page(tx, id, first=page_size(first), after=start, state=state)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await webhook_delivery.count(tx, id, state)

    return connect(found, more, after, lambda one: write_cursor("deliveries", one.place, one.id), count)


async def waiting(shelf: Shelf, id: str) -> int:
    """How many deliveries wait."""
    async with shelf.store.begin() as tx:
        return await webhook_delivery.count(tx, id, DeliveryState.PENDING)


async def attempts(shelf: Shelf, of: Sequence[Delivery]) -> list[list[Attempt]]:
    """The tries of each, oldest first."""
    keys = [(one.webhook, one.id) for one in of]
    async with shelf.store.begin() as tx:
        found = await webhook_delivery.attempts(tx, keys)
    return [found[key] for key in keys]


async def samples(shelf: Shelf, by: Maker, name: str, limit: int) -> list[dict[str, Any]]:
    """The newest events of a type, in the flat form that they are delivered in. Raises Invalid."""
    asked = topic(name, by.scopes)
    async with shelf.store.begin() as tx:
        events = await webhook_delivery.samples(tx, asked, by.name, by.scopes, limit)
        sight = Sight(shelf.locations, shelf.safety_stock)
        told = await webhook_data.read(tx, asked, [one.subject for one in events], sight, shelf.clock())
    return [
        flat(webhook_delivery.sample(asked, one, object_of(asked, one.subject)), told[one.subject]) for one in events
    ]


async def _check(shelf: Shelf, by: Maker, new: NewWebhook) -> None:
    """Raises Invalid for what cannot be subscribed to, or is no address to call."""
    new.check(by.scopes)
    for channel in new.channels:
        if channel not in shelf.channels:
            raise NotFound(f"There is no channel Channel:{channel}.", field=("channelIds",))
    await shelf.guard.check(new.url)


def _changed(one: Webhook, change: Change) -> NewWebhook:
    before = NewWebhook(one.url, one.events, one.channels, one.skus, one.format, one.hook)
    given = {
        name: value
        for name in ("url", "events", "channels", "skus", "format")
        if (value := getattr(change, name)) is not None
    }
    return replace(before, **given)


def _new_secret() -> str:
    return SECRET + base64.b64encode(token_bytes(32)).decode()


def _read_start(after: str | None) -> tuple[int, str] | None:
    if after is None:
        return None
    place = read_cursor("deliveries", after)
    if len(place) != 2:
        raise Invalid("`after` is not a cursor of this list.", field=("after",))
    return read_place(place[0]), place[1]
