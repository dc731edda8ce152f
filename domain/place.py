"""The places that a channel knows by itself, and whether what is configured about them agrees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from domain.channel import Location
from domain.ids import ChannelId


@dataclass(frozen=True, slots=True)
class ChannelPlace:
    """A place as its channel tells of it; `id` is the channel's own name of it, as `external_id` and `shown` of a `Location` are.

    `active`: stock is kept and orders are sent from there; `sells_online`: it may be given orders of the online store. `foreign`:
    somebody else's service keeps it, and we neither count nor ship there. `country` is a code, where it is told.
    """

    id: str
    name: str
    active: bool
    sells_online: bool
    country: str | None = None
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Misplaced:
    """What is configured about a place and does not agree with its channel, and what to do about it: sentences for people."""

    found: str
    do: str


def misplaced(channel: ChannelId, locations: Iterable[Location], places: Sequence[ChannelPlace]) -> list[Misplaced]:
    """What is wrong between `places`, which are all that the channel knows, and those of `locations` that name one of them."""
    there = {place.id: place for place in places}
    named: dict[str, str] = {}
    found = []
    for location in locations:
        id = location.external_id if location.keeper == channel else location.shown.get(channel)
        if id is None:
            continue
        named[id] = location.code
        if problem := _wrong(channel, location, id, there.get(id)):
            found.append(problem)
    return found + [_unnamed(channel, place) for place in places if _wanted(place) and place.id not in named]


def _wrong(channel: ChannelId, location: Location, id: str, place: ChannelPlace | None) -> Misplaced | None:
    if place is None:
        return Misplaced(
            f"{location.code} is {id} there, and {channel} has no such place.",
            f"Take the id from `acorn channels locations {channel}`, or take {location.code} out of acorn.toml.",
        )
    if not place.active:
        return Misplaced(
            f"{location.code} is {place.name} there, which is deactivated: its stock is neither read nor sold.",
            f"Activate {place.name} in {channel}, or take {location.code} out of acorn.toml.",
        )
    if not place.sells_online and not place.foreign:
        return Misplaced(
            f"{location.code} is {place.name} there, which gets no orders of the online store.",
            f"Let {place.name} fulfill online orders in {channel}, or what lies there is not sold by it.",
        )
    return None


def _wanted(place: ChannelPlace) -> bool:
    return place.active and place.sells_online and not place.foreign


def _unnamed(channel: ChannelId, place: ChannelPlace) -> Misplaced:
    return Misplaced(
        f"{channel} sells from {place.name} ({place.id}), which acorn.toml does not name: what lies there is not counted.",
        f"Add a [[locations]] table with this id, or let {place.name} fulfill no online orders.",
    )
