"""`acorn stock explain`, for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.table import Table

from domain.channel import Location
from domain.stock import Term
from gateway.stock import Explained
from store.channel_numbers import ChannelNumber


def tables(told: Explained, locations: Sequence[Location], now: datetime) -> Iterator[Table]:
    """The terms of the number, then what each channel is to show, was told and shows."""
    terms = _table(f"{told.facts.sku}: {told.available.quantity} available to sell", "units", "what", "by", "age")
    for one in told.available.terms:
        terms.add_row(f"{one.quantity:+}", one.label, _by(one), _age(one.as_of, now))
    yield terms
    exposure = told.exposure
    title = f"Channels could sell {exposure.sellable}, {exposure.existing} exist, {exposure.beyond} beyond that"
    channels = _table(title, "channel", "SKU there", "place", "to show", "told", "confirmed", "why")
    above: object = None
    for number in told.channels:
        listing = number.channel, number.channel_sku
        # The terms are those of all its places together.
        why = "part of the above" if listing == above else _why(number.terms)
        above = listing
        channels.add_row(
            number.channel,
            number.channel_sku,
            _place(number, locations),
            str(number.target),
            "-" if number.told is None else str(number.told),
            _age(number.confirmed_at, now),
            number.error_message or why,
        )
    yield channels


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in ("units", "to show", "told") else "left")
    return table


def _place(number: ChannelNumber, locations: Sequence[Location]) -> str:
    """By our own word, where a place of ours is shown there."""
    ours = (one.code for one in locations if one.ours and one.shown.get(number.channel) == number.place)
    return next(ours, number.place)


def _by(term: Term) -> str:
    return f"{term.rule} ({term.source})" if term.rule is not None else term.source


def _why(terms: Sequence[Term]) -> str:
    return ", ".join(f"{term.quantity:+} {term.label}" for term in terms)


def _age(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "-"
    seconds = max(0, int((now - at).total_seconds()))
    return (
        f"{seconds} s ago"
        if seconds < 120
        else f"{seconds // 60} min ago"
        if seconds < 7200
        else f"{at:%Y-%m-%d %H:%M}"
    )
