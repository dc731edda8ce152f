"""Changes of one listing in one marketplace, written as patches that change nothing else.

Only top-level attributes can be patched, and a `replace` swaps all that an attribute says about the marketplace: the prices for
other audiences, sales and limits would go with it. So a price is put into a copy of all that stands there, and the whole is
written back. A quantity is merged: its attribute is looked up by fulfillment channel, and what stands beside the number stays.
Sources: Listings Items 2021-08-01, patchListingsItem; the attributes purchasable_offer and fulfillment_availability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field

from adapters.amazon.listings import OWN
from adapters.amazon.marketplaces import Marketplace
from adapters.wire import Unclear, Wire, money, read
from domain.errors import Invalid
from domain.money import Money
from domain.price import Sale

OFFER = "purchasable_offer"
STOCK = "fulfillment_availability"
# Whom a price is for unless it says otherwise: everybody.
ALL = "ALL"
# More than any price, and far below where a JSON number loses its cents.
MOST = Decimal(10) ** 9

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

Entry: TypeAlias = Mapping[str, object]


class Kept(Enum):
    """Stands for what a change leaves as it is."""

    AS_IT_IS = "as it is"


KEPT = Kept.AS_IT_IS


@dataclass(frozen=True, slots=True)
class Patch:
    """One operation on one attribute; `value` is ready for JSON."""

    op: str
    attribute: str
    value: tuple[dict[str, Any], ...]

    def body(self) -> dict[str, Any]:
        """As Amazon wants it."""
        return {"op": self.op, "path": f"/attributes/{self.attribute}", "value": list(self.value)}


@dataclass(frozen=True, slots=True)
class PriceChange:
    """What is to become of the offer that everybody sees. A sale takes the place of all there are; None ends and forgets them.

    `minimum` and `maximum` are the limits within which Amazon lets a price be; outside of them it takes the offer down.
    """

    price: Money | Kept = KEPT
    sale: Sale | Kept | None = KEPT
    minimum: Money | Kept = KEPT
    maximum: Money | Kept = KEPT


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("should be a number")
    return value


class _Attribute(Wire):
    """Attributes are written in snake_case."""

    model_config = ConfigDict(alias_generator=None)


class Scheduled(_Attribute):
    """An amount with the buyer's tax, and when it holds: a time with its zone, or a day of the marketplace."""

    value_with_tax: Annotated[Decimal, BeforeValidator(_number)]
    start_at: str | None = None
    end_at: str | None = None


class Schedule(_Attribute):
    """Amounts, of which one holds at a time."""

    schedule: tuple[Scheduled, ...] = Field(min_length=1)


class Address(_Attribute):
    """Which entry of purchasable_offer one is: of a marketplace, a currency and an audience."""

    currency: str
    marketplace_id: str | None = None
    audience: str = ALL


class Offer(Address):
    """One entry with its prices."""

    our_price: tuple[Schedule, ...] = ()
    discounted_price: tuple[Schedule, ...] = ()
    minimum_seller_allowed_price: tuple[Schedule, ...] = ()
    maximum_seller_allowed_price: tuple[Schedule, ...] = ()


@dataclass(frozen=True, slots=True)
class Prices:
    """What an offer says."""

    price: Money | None = None
    sales: tuple[Sale, ...] = ()
    minimum: Money | None = None
    maximum: Money | None = None

    def at(self, instant: datetime) -> Money | None:
        """What buyers pay then."""
        holding = [sale.price for sale in self.sales if sale.holds(instant)]
        return min(holding, key=lambda one: one.amount, default=self.price)


def quantity_patch(store: Marketplace, quantity: int) -> Patch:
    """Units of our own for sale; lead time, restock date and the other fulfillment channels stay."""
    entry = {"fulfillment_channel_code": OWN, "quantity": quantity, "marketplace_id": store.id}
    return Patch("merge", STOCK, (entry,))


def price_patch(store: Marketplace, standing: Sequence[Entry] | None, change: PriceChange) -> Patch:
    """The offer as it is to be. `standing` is all that purchasable_offer says in the marketplace now, as it was read.

    Raises Invalid for what cannot be asked for: another currency, parts of a cent, a sale without an end, no price where none
    is yet. Raises Unclear where what stands there is not known (None) or cannot be told apart.
    """
    if standing is None:
        raise Unclear(f"{OFFER}: what stands in {store.code} is not known, and a new price would wipe it out")
    place = _everybodys(store, standing)
    entries = [_jsonable(entry) for entry in standing]
    if place is None:
        if isinstance(change.price, Kept):
            raise Invalid(f"Nothing is offered in {store.code} yet: an offer begins with a price.")
        place = len(entries)
        entries.append({"marketplace_id": store.id, "currency": store.currency, "audience": ALL})
    entries[place] = _changed(store, entries[place], change)
    return Patch("replace", OFFER, tuple(entries))


def prices(store: Marketplace, standing: Sequence[Entry]) -> Prices:
    """What everybody's offer says. Raises Unclear."""
    place = _everybodys(store, standing)
    if place is None:
        return Prices()
    offer = read(Offer, standing[place])
    return Prices(
        price=_only(store, offer.our_price, "our_price"),
        sales=tuple(_sale(store, one) for schedule in offer.discounted_price for one in schedule.schedule),
        minimum=_only(store, offer.minimum_seller_allowed_price, "minimum_seller_allowed_price"),
        maximum=_only(store, offer.maximum_seller_allowed_price, "maximum_seller_allowed_price"),
    )


def _everybodys(store: Marketplace, standing: Sequence[Entry]) -> int | None:
    """Where everybody's offer in the marketplace's currency stands. Raises Unclear when that is not one place."""
    found = []
    for place, entry in enumerate(standing):
        address = read(Address, entry)
        if address.marketplace_id not in (None, store.id):
            raise Unclear(f"{OFFER}: an entry is about another marketplace than {store.code}")
        if address.audience == ALL and address.currency == store.currency:
            found.append(place)
    if len(found) > 1:
        raise Unclear(f"{OFFER}: {len(found)} entries are for everybody in {store.code}")
    return found[0] if found else None


def _changed(store: Marketplace, entry: dict[str, Any], change: PriceChange) -> dict[str, Any]:
    entry = dict(entry)
    plain = (
        ("our_price", change.price),
        ("minimum_seller_allowed_price", change.minimum),
        ("maximum_seller_allowed_price", change.maximum),
    )
    for name, wish in plain:
        if not isinstance(wish, Kept):
            entry[name] = [{"schedule": [{"value_with_tax": amount(store, wish)}]}]
    if change.sale is None:
        entry.pop("discounted_price", None)
    elif not isinstance(change.sale, Kept):
        entry["discounted_price"] = [{"schedule": [_scheduled(store, change.sale)]}]
    return entry


def _scheduled(store: Marketplace, sale: Sale) -> dict[str, Any]:
    starts_at, ends_at = sale.starts_at, sale.ends_at
    if starts_at is None or ends_at is None:
        raise Invalid("A sale has a start and an end.")
    if starts_at.tzinfo is None or ends_at.tzinfo is None:
        raise Invalid("The start and the end of a sale name their time zone.")
    start, end = local(store, starts_at), local(store, ends_at)
    if starts_at >= ends_at or start == end:
        raise Invalid("A sale ends a second after its start at the earliest.")
    return {"value_with_tax": amount(store, sale.price), "start_at": start, "end_at": end}


def amount(store: Marketplace, wish: Money) -> int | float:
    """The number that JSON takes for it. Raises Invalid for another currency, for parts of its smallest coin, for nothing."""
    if wish.currency != store.currency:
        raise Invalid(f"Prices in {store.code} are in {store.currency}, not in {wish.currency}.")
    if not 0 < wish.amount < MOST:
        raise Invalid(f"A price lies above 0 and below {MOST}; {wish.amount} does not.")
    if wish.amount != round(wish.amount, store.places):
        raise Invalid(f"{wish.currency} has {store.places} decimals; {wish.amount} has more.")
    return float(wish.amount) if store.places else int(wish.amount)


def local(store: Marketplace, at: datetime) -> str:
    """An instant on the clocks of the marketplace, with what they are ahead of UTC just then, in whole seconds: whether Amazon
    takes the instant or only its date, it is the right one. Raises Invalid beyond the years 1 to 9999."""
    try:
        return at.astimezone(ZoneInfo(store.zone)).replace(microsecond=0).isoformat()
    except OverflowError:
        raise Invalid(f"{at.isoformat()} lies beyond the calendar.") from None


def _only(store: Marketplace, schedules: tuple[Schedule, ...], name: str) -> Money | None:
    amounts = [one for schedule in schedules for one in schedule.schedule]
    if len(amounts) > 1:
        raise Unclear(f"{OFFER}.{name}: {len(amounts)} amounts where one belongs")
    return money(amounts[0].value_with_tax, store.currency) if amounts else None


def _sale(store: Marketplace, told: Scheduled) -> Sale:
    return Sale(
        price=money(told.value_with_tax, store.currency),
        starts_at=_instant(store, told.start_at, days=0),
        ends_at=_instant(store, told.end_at, days=1),
    )


def _instant(store: Marketplace, told: str | None, *, days: int) -> datetime | None:
    """A time with its zone; of a mere date its first instant in the marketplace, `days` later: the last day is part of a sale."""
    if told is None:
        return None
    try:
        at = datetime.fromisoformat(told)
    except ValueError:
        raise Unclear(f"{OFFER}.discounted_price: a time is none") from None
    if at.tzinfo is None and len(told) != len("2026-03-29"):
        raise Unclear(f"{OFFER}.discounted_price: a time has no zone")
    try:
        if at.tzinfo is None:
            at = datetime.combine(at.date() + timedelta(days=days), time(), ZoneInfo(store.zone))
        return at.astimezone(UTC)
    except OverflowError:
        # Whoever writes the last day that there is means for ever.
        return FIRST if at.year == FIRST.year else LAST


def _jsonable(value: Any) -> Any:
    """What was read, ready to be written: numbers that are not whole come as Decimal. Raises Unclear where one would change."""
    if isinstance(value, Mapping):
        return {name: _jsonable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]
    if isinstance(value, Decimal):
        if Decimal(repr(float(value))) != value:
            raise Unclear("a number has more digits than can be written back")
        return float(value)
    return value
