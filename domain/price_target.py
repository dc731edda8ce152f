"""What people ask prices for, by mutation or by file: a SKU of ours at a place, and which of its listings that means.

Nothing is guessed: what may mean two things, or nothing, is answered with words for who asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money, minor_digits
from domain.price import Origin, Price, PriceWish, Sale
from domain.wall_clock import YEARS, first_instant, last_instant

MOST = Decimal(10) ** 12
"""No price is that high."""


@dataclass(frozen=True, slots=True)
class Asked:
    """That `sku` be sold for `price`: at this channel, in this marketplace, under this SKU of the channel's; where none is named,
    wherever it is sold in the price's currency. Times of a sale may have no zone (`there`)."""

    sku: Sku
    price: Price
    channel: ChannelId | None = None
    marketplace: str | None = None
    channel_sku: ChannelSku | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A listing, as far as it concerns who may be meant. `currency` is that of its price; None where none is known."""

    listing: ListingId
    channel: ChannelId
    marketplace: str | None
    channel_sku: ChannelSku
    sku: Sku
    refs: Mapping[str, str]
    withdrawn: bool
    currency: str | None


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why something cannot be asked for: the `field` that is wrong (sku, channel, marketplace, channel_sku, amount, currency,
    sale, sale_from or sale_to), and words that say what to do."""

    field: str
    words: str


def flaw_of(price: Price) -> Flaw | None:
    """What is wrong with a price whatever it is for."""
    wrong = _wrong_amount("amount", price.regular)
    sale = price.sale
    if wrong is not None or sale is None:
        return wrong
    if sale.price.currency != price.regular.currency:
        return Flaw("sale", f"A sale is in the currency of its price, {price.regular.currency}.")
    if (wrong := _wrong_amount("sale", sale.price)) is not None:
        return wrong
    if sale.price.amount >= price.regular.amount:
        return Flaw(
            "sale", f"A sale lies below the price: {sale.price.amount:f} is not below {price.regular.amount:f}."
        )
    for name, at in (("sale_from", sale.starts_at), ("sale_to", sale.ends_at)):
        if at is not None and at.microsecond:
            return Flaw(name, "A sale begins and ends on a whole second.")
        if at is not None and at.year not in YEARS:
            words = f"Years here are {YEARS[0]} to {YEARS[-1]}; leave it out where there is no such end."
            return Flaw(name, words)
    return _wrong_times(sale)


def _wrong_times(sale: Sale) -> Flaw | None:
    """Times of which only one has a zone can be compared once it is known where they are meant."""
    begins, ends = sale.starts_at, sale.ends_at
    if begins is None or ends is None or (begins.tzinfo is None) != (ends.tzinfo is None) or begins < ends:
        return None
    return Flaw("sale_to", "A sale ends after it has begun.")


def fitted(price: Price, zone: ZoneInfo, now: datetime) -> Price | Flaw:
    """The price as it is asked for where the clocks show the time of `zone` (`there`), unless it cannot be."""
    found = there(price, zone)
    ends = None if found.sale is None else found.sale.ends_at
    over = Flaw("sale_to", "The sale is over already; leave it out.") if ends is not None and ends <= now else None
    return flaw_of(found) or over or found


def there(price: Price, zone: ZoneInfo) -> Price:
    """The price with the times of its sale as instants. One without a zone is what the clocks show there: a sale begins when they
    show it first, or leap over it, and ends when they show it for the last time."""
    sale = price.sale
    if sale is None:
        return price
    begins, ends = sale.starts_at, sale.ends_at
    if begins is not None and begins.tzinfo is None:
        begins = first_instant(begins, zone)
    if ends is not None and ends.tzinfo is None:
        ends = last_instant(ends, zone)
    return Price(price.regular, Sale(sale.price, begins, ends))


def _wrong_amount(field: str, amount: Money) -> Flaw | None:
    if not 0 < amount.amount < MOST:
        return Flaw(field, f"A price lies above 0 and below {MOST:,f}.")
    digits = minor_digits(amount.currency)
    if amount.amount != round(amount.amount, digits):
        has = "no decimals" if digits == 0 else f"{digits} decimals"
        return Flaw(field, f"{amount.currency} has {has}; {amount.amount:f} has more.")
    return None


def meant(asked: Asked, offers: Sequence[Offer], sellers: Collection[ChannelId]) -> list[Offer] | Flaw:
    """Which of the SKU's `offers` are meant; never an empty list. `sellers` are the channels whose prices can be set."""
    if asked.channel is not None and asked.channel not in sellers:
        return Flaw("channel", f"{asked.channel} is no channel whose prices are set here. There is {_list(sellers)}.")
    if not offers:
        return Flaw("sku", f"No listing of a SKU {asked.sku} is known.")
    here = [one for one in offers if asked.channel in (None, one.channel)]
    if not here:
        return Flaw(
            "channel", f"{asked.channel} does not list {asked.sku}; {_list({one.channel for one in offers})} does."
        )
    there = [one for one in here if asked.marketplace in (None, one.marketplace)]
    if not there:
        places = {one.marketplace for one in here if one.marketplace is not None}
        known = f"only in {_list(places)}" if places else "where there are no marketplaces"
        return Flaw("marketplace", f"{asked.sku} is not listed in {asked.marketplace}, {known}.")
    named = [one for one in there if asked.channel_sku in (None, one.channel_sku)]
    if not named:
        known = _list({one.channel_sku for one in there})
        return Flaw("channel_sku", f"{asked.sku} is not listed as {asked.channel_sku} there, but as {known}.")
    standing = [one for one in named if not one.withdrawn]
    if not standing:
        return Flaw("sku", f"What listed {asked.sku} there has been withdrawn; it has no price any more.")
    settable = [one for one in standing if one.channel in sellers]
    if not settable:
        return Flaw("channel", f"Prices of {_list({one.channel for one in standing})} are not set here.")
    return _in_currency(asked, settable)


def _in_currency(asked: Asked, offers: Sequence[Offer]) -> list[Offer] | Flaw:
    currency = asked.price.regular.currency
    # Who names the channel means its listing, and whoever sends knows its currency; who names none means those that show it.
    named = asked.channel is not None
    found = [one for one in offers if one.currency == currency or (named and one.currency is None)]
    if found:
        return found
    known = {one.currency for one in offers if one.currency is not None}
    if not known:
        return Flaw("channel", f"No listing of {asked.sku} shows a price yet; name the channel that is meant.")
    return Flaw("currency", f"{asked.sku} is sold in {_list(known)} there, not in {currency}.")


def wish(offer: Offer, price: Price, origin: Origin, reason: str = "") -> PriceWish:
    """That this listing be sold for it."""
    return PriceWish(
        listing=offer.listing,
        channel=offer.channel,
        marketplace=offer.marketplace,
        channel_sku=offer.channel_sku,
        sku=offer.sku,
        refs=offer.refs,
        price=price,
        origin=origin,
        reason=reason,
    )


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
