"""The numbers that a shop shows its buyers: `available` of an inventory item at a location. Source: inventorySetQuantities.

Each number is compared with what we believe is there (`changeFromQuantity`), so that an order that came in meanwhile is never
written over. One entry that is refused stops its whole call: the others are told to be sent again without it. That is not
documented, so whatever the answer leaves open is read back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import uuid4

from adapters.port import BeforeSend, Page, Receipt, Shown, ShownKey, StockWrite
from adapters.shopify.client import ShopClient
from adapters.shopify.document import PAGE
from adapters.shopify.documents import ACTIVATE, SET_AVAILABLE
from adapters.shopify.inventory import Inventory, Told
from adapters.shopify.problems import Problem, meaning, raised
from adapters.shopify.wire import Ref
from adapters.transport import lost
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, NotFound, OtherNumber, OutcomeUnknown, Refused, Transient
from domain.ids import ChannelSku, derived_id

ACTIVATIONS = 20  # the most items that are put into a location's stock in one go; each is a call of its own

# A key that is used up: the same writes go under a new one, which does no harm, for they are absolute.
SPENT = frozenset({"IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"})

Answer = Receipt | HouseError


class _Payload(Wire):
    inventory_adjustment_group: Ref | None
    user_errors: list[Problem]


async def tell_stock(
    client: ShopClient, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
) -> list[Answer]:
    """One answer per write. The shop's history names the first write of a call, `gid://acorn/StockWrite/<reference>`.

    The same writes again, after an answer that was lost, are replayed by the platform and not applied twice. Before API version
    2026-10 an item that was never stocked at a location is activated there first, and its number is to be sent again.
    """
    if len(writes) > PAGE:
        raise Invalid(f"{len(writes)} numbers were to be told at once; {PAGE} are the most.")
    wrong = [_misaddressed(write) for write in writes]
    batch = [write for write, problem in zip(writes, wrong, strict=True) if problem is None]
    answers = iter(await _tell(client, batch, ask, before_send) if batch else ())
    return [next(answers) if problem is None else problem for problem in wrong]


async def shown_stock(inventory: Inventory, keys: Sequence[ShownKey], ask: Ask) -> list[Shown]:
    """What is available at each key's location; None where the item is gone or not stocked there."""
    as_of = datetime.now(UTC)
    told = await inventory.told(keys, ask)
    return [_shown(key, told.get(key.channel_sku), as_of) for key in keys]


async def shown_pages(inventory: Inventory, places: Sequence[str], ask: Ask) -> AsyncIterator[Page[Shown]]:
    """What is available of every item at those of `places` that stock it."""
    async for swept in inventory.sweep(ask):
        page: Page[Shown] = Page([], swept.rejected, swept.until)
        for told in swept.items:
            keys = [ShownKey(ChannelSku(told.sku), place) for place in places if place in told.units]
            page.items += [_shown(key, told, swept.as_of) for key in keys]
        yield page


def _shown(key: ShownKey, told: Told | None, as_of: datetime) -> Shown:
    there = told.units.get(key.place) if told else None
    quantity = None if there is None else there["available"]
    return Shown(key, quantity, as_of, told.request_id if told else None)


def _item(write: StockWrite) -> str:
    return dict(write.key.refs).get("inventory_item", "")


def _misaddressed(write: StockWrite) -> HouseError | None:
    """Why this write cannot be sent: a malformed id would spoil the others' call."""
    sku = write.key.channel_sku
    if not _is_gid("InventoryItem", _item(write)):
        return NotFound(f"No inventory item of {sku} is known yet; it comes with the shop's listings.")
    if not _is_gid("Location", write.key.place):
        return Invalid(f"{sku} was to be shown at {write.key.place!r}, which is no gid://shopify/Location/<number>.")
    return None


def _is_gid(kind: str, gid: str) -> bool:
    prefix, _, number = gid.rpartition("/")
    return prefix == f"gid://shopify/{kind}" and number.isascii() and number.isdigit()


async def _tell(client: ShopClient, batch: Sequence[StockWrite], ask: Ask, before_send: BeforeSend) -> list[Answer]:
    payload, request_id = await _set(client, batch, _key(client, batch), ask, before_send)
    if any(problem.code in SPENT for problem in payload.user_errors):
        # What failed has changed nothing and used its key up.
        payload, request_id = await _set(client, batch, str(uuid4()), ask, before_send)
    group = payload.inventory_adjustment_group
    if not payload.user_errors:
        # Without a group, all the numbers were there already.
        return [Receipt(request_id, group.id if group else None)] * len(batch)
    if len(batch) > 1 and group is None and any(_nameless(problem, batch) for problem in payload.user_errors):
        return await _halves(client, batch, ask, before_send)
    found, unstocked = _by_write(client, batch, payload.user_errors, request_id)
    for place in unstocked[:ACTIVATIONS]:
        found[place] = await _activate(client, batch[place], ask, before_send)
    return [found.get(place) or _bystander(request_id, applied=group is not None) for place in range(len(batch))]


def _nameless(problem: Problem, batch: Sequence[StockWrite]) -> bool:
    """Whether it is about one write and does not say about which. A stale number is read again in any case."""
    told = meaning(SET_AVAILABLE.operation, problem.code)
    return told.entry and told.kind is not OtherNumber and problem.entry(len(batch)) is None


async def _halves(client: ShopClient, batch: Sequence[StockWrite], ask: Ask, before_send: BeforeSend) -> list[Answer]:
    """Each half by itself, so that a refusal that names nobody comes down to the one it is about."""
    half = len(batch) // 2
    answers = await _tell(client, batch[:half], ask, before_send)
    try:
        return [*answers, *await _tell(client, batch[half:], ask, before_send)]
    except HouseError as problem:
        # The first half may have changed something.
        return [*answers, *[problem] * (len(batch) - half)]


async def _set(
    client: ShopClient, batch: Sequence[StockWrite], key: str, ask: Ask, before_send: BeforeSend
) -> tuple[_Payload, str | None]:
    quantities = [
        {
            "inventoryItemId": _item(write),
            "locationId": write.key.place,
            "quantity": write.quantity,
            "changeFromQuantity": write.expected,
        }
        for write in batch
    ]
    given = {
        "name": "available",
        "reason": "correction",
        "referenceDocumentUri": f"gid://acorn/StockWrite/{quote(batch[0].reference, safe='')}",
        "quantities": quantities,
    }
    reply = await client.run(SET_AVAILABLE, {"input": given, "key": key}, ask, before_send)
    try:
        return read(_Payload, reply.data["inventorySetQuantities"]), reply.request_id
    except Unclear as problem:
        raise lost(True, f"no refusal and no numbers: {problem}", reply.request_id) from problem


def _key(client: ShopClient, batch: Sequence[StockWrite]) -> str:
    """Equal for equal writes, in every process; a key used with other contents would be refused."""
    parts = [(w.reference, _item(w), w.key.place, str(w.quantity), str(w.expected)) for w in batch]
    return derived_id("tell_stock", client.config.channel.id, *(part for write in parts for part in write))


def _by_write(
    client: ShopClient, batch: Sequence[StockWrite], problems: Sequence[Problem], request_id: str | None
) -> tuple[dict[int, Answer], list[int]]:
    """What stopped the call, by the place of the write it concerns, and the places of those whose item has to be activated first.

    Raises what concerns all of them.
    """
    shop = client.config.shop
    found: dict[int, Answer] = {}
    unstocked: list[int] = []
    for problem in problems:
        told = meaning(SET_AVAILABLE.operation, problem.code)
        place = problem.entry(len(batch)) if told.entry else None
        if place is None and told.entry and len(batch) == 1:
            place = 0
        if place is None and told.kind is OtherNumber:
            # It does not say which: each that was compared has to be read back.
            for each, write in enumerate(batch):
                if write.expected is not None:
                    found.setdefault(each, _refusal(shop, write, problem, request_id))
        elif place is None:
            raise raised(SET_AVAILABLE.operation, problem, f"{shop} took no numbers", request_id)
        elif place not in found:
            found[place] = _refusal(shop, batch[place], problem, request_id)
            if problem.code == "ITEM_NOT_STOCKED_AT_LOCATION":
                unstocked.append(place)
    return found, unstocked


def _refusal(shop: str, write: StockWrite, problem: Problem, request_id: str | None) -> HouseError:
    sku, place = write.key.channel_sku, write.key.place
    if meaning(SET_AVAILABLE.operation, problem.code).kind is OtherNumber:
        text = f"{shop} shows another number of {sku} at {place} than {write.expected}."
        return OtherNumber(text, upstream_request_id=request_id)
    what = f"{shop} does not take {write.quantity} of {sku} at {place}"
    return raised(SET_AVAILABLE.operation, problem, what, request_id)


def _bystander(request_id: str | None, *, applied: bool) -> HouseError:
    """The answer to a write that nothing was wrong with, in a call that was refused for the sake of another."""
    if applied:
        words = "The shop refused some numbers of the same call and does not say whether it took this one."
        return OutcomeUnknown(words, upstream_request_id=request_id)
    words = "Not applied, because the shop refused another number of the same call."
    return Transient(words, upstream_request_id=request_id)


async def _activate(client: ShopClient, write: StockWrite, ask: Ask, before_send: BeforeSend) -> HouseError:
    """Put the item into the location's stock, with no units or those it had there once. Source: inventoryActivate."""
    variables = {"item": _item(write), "location": write.key.place, "key": str(uuid4())}
    try:
        reply = await client.run(ACTIVATE, variables, ask, before_send)
    except Refused as problem:
        return problem
    words = (
        f"{write.key.channel_sku} was not stocked at {write.key.place}. Now it is, and its number can be told again."
    )
    return Transient(words, upstream_request_id=reply.request_id)
