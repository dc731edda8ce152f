"""What a purchasable_offer says: prices and their schedules, what is wrong with them, and which price holds when."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.amazon.marketplaces import MARKETPLACES, Marketplace

PRICES = ("our_price", "discounted_price", "minimum_seller_allowed_price", "maximum_seller_allowed_price")
_MEMBERS = (*PRICES, "marketplace_id", "currency", "audience", "start_at", "end_at", "quantity_discount_plan")
_ZONES = {"US": "America/Los_Angeles", "DE": "Europe/Berlin", "FR": "Europe/Paris", "JP": "Asia/Tokyo"}

Fault = tuple[str, str, str]
"""(code, words, category) of an issue."""


def faults(entry: dict[str, Any], place: Marketplace, *, whole: bool) -> Iterator[Fault]:
    """What is wrong with one entry; `whole` entries need a price, those that are merged into one do not."""
    if strange := [name for name in entry if name not in _MEMBERS]:
        yield "90000900", f"The following attributes are invalid: {strange[0]}.", "INVALID_ATTRIBUTE"
    if entry.get("currency") != place.currency:
        yield "90220", f"'currency' must be {place.currency}.", "INVALID_PRICE"
    if entry.get("audience", "ALL") not in ("ALL", "B2B"):
        yield "99022", "'audience' must be ALL or B2B.", "INVALID_ATTRIBUTE"
    if whole and "our_price" not in entry:
        yield "90220", "'our_price' is required but not supplied.", "MISSING_PRICE"
    told = [fault for name in PRICES if name in entry for fault in _price_faults(entry[name], name, place)]
    yield from told or _bounds(entry, place)


def _price_faults(value: object, name: str, place: Marketplace) -> Iterator[Fault]:
    only = value[0] if isinstance(value, list) and len(value) == 1 else None
    schedule = only.get("schedule") if isinstance(only, dict) else None
    if not isinstance(schedule, list) or not schedule or not all(isinstance(one, dict) for one in schedule):
        words = f"The field 'schedule' for the attribute 'purchasable_offer.{name}' does not have enough values."
        yield "99022", f"{words} The required minimum is '1' value(s).", "MISSING_ATTRIBUTE"
        return
    dated = name == "discounted_price"
    for one in schedule:
        amount = one.get("value_with_tax")
        if strange := [key for key in one if key != "value_with_tax" and not (dated and key in ("start_at", "end_at"))]:
            yield "90000900", f"The following attributes are invalid: {name}.{strange[0]}.", "INVALID_ATTRIBUTE"
        elif amount is None:
            yield "90220", f"'{name}.value_with_tax' is required but not supplied.", "MISSING_PRICE"
        elif isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < 1e9:
            yield "99022", f"'{name}.value_with_tax' must be a number above 0.", "INVALID_PRICE"
        elif Decimal(str(amount)) != round(Decimal(str(amount)), place.places):
            yield "99022", f"'{name}.value_with_tax' has more than {place.places} decimals.", "INVALID_PRICE"
        elif dated:
            yield from _window_faults(one, place)


def _window_faults(one: dict[str, Any], place: Marketplace) -> Iterator[Fault]:
    for name in ("start_at", "end_at"):
        if name not in one:
            yield "90220", f"'discounted_price.{name}' is required but not supplied.", "MISSING_ATTRIBUTE"
            return
    start, end = _window(one, place)
    if start is None or end is None or start >= end:
        yield "99022", "'discounted_price' needs a start_at that lies before its end_at.", "INVALID_PRICE"


def _bounds(entry: dict[str, Any], place: Marketplace) -> Iterator[Fault]:
    ours, low, high = (_amount(entry, name) for name in ("our_price", *PRICES[2:]))
    if low is not None and high is not None and low > high:
        yield "99022", "'minimum_seller_allowed_price' is above 'maximum_seller_allowed_price'.", "INVALID_PRICE"
    sales = entry.get("discounted_price", [{"schedule": []}])[0]["schedule"]
    if ours is not None and any(Decimal(str(one["value_with_tax"])) >= ours for one in sales):
        yield "99022", "'discounted_price' must be below 'our_price'.", "INVALID_PRICE"


def price(entry: dict[str, Any], at: datetime) -> Decimal | None:
    """What a buyer pays at that instant, in the currency's own places; None without a price."""
    place = _place(entry)
    regular = _amount(entry, "our_price")
    if place is None or regular is None:
        return None
    for sale in entry.get("discounted_price") or []:
        for one in sale.get("schedule", []):
            start, end = _window(one, place)
            if start is not None and end is not None and start <= at < end:
                regular = Decimal(str(one["value_with_tax"]))
    return regular.quantize(Decimal(1).scaleb(-place.places))


def out_of_bounds(entry: dict[str, Any], at: datetime) -> bool:
    """Whether the price lies outside of what the seller allows, for which an offer is taken down."""
    now, low, high = price(entry, at), _amount(entry, PRICES[2]), _amount(entry, PRICES[3])
    return now is not None and ((low is not None and now < low) or (high is not None and now > high))


def _place(entry: dict[str, Any]) -> Marketplace | None:
    return next((one for one in MARKETPLACES.values() if one.id == entry.get("marketplace_id")), None)


def _amount(entry: dict[str, Any], name: str) -> Decimal | None:
    for one in entry.get(name) or []:
        for scheduled in one.get("schedule") or []:
            return Decimal(str(scheduled["value_with_tax"]))
    return None


def _window(one: dict[str, Any], place: Marketplace) -> tuple[datetime | None, datetime | None]:
    return _instant(one.get("start_at"), place, 0), _instant(one.get("end_at"), place, 1)


def _instant(text: object, place: Marketplace, days: int) -> datetime | None:
    """A time with a zone; a mere date is a day of the marketplace, whole."""
    try:
        at = datetime.fromisoformat(str(text))
        if at.tzinfo is None:
            if len(str(text)) != 10:
                return None
            at = datetime.combine(at.date() + timedelta(days=days), time(), ZoneInfo(_ZONES[place.code]))
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
