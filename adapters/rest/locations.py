"""The places where a shop keeps stock. Source: listLocations."""

from __future__ import annotations

from pydantic import StrictBool

from adapters.rest.client import RestClient, answered
from adapters.rest.offers import Offers
from adapters.rest.operations import LIST_LOCATIONS
from adapters.rest.wire import Body
from domain.budget import Ask
from domain.place import ChannelPlace


class _Location(Body):
    id: str
    name: str
    active: StrictBool
    country: str | None = None


class _Locations(Body):
    """All on one page: one that is on another would pass for none."""

    data: list[_Location]
    next_cursor: None


async def locations(client: RestClient, offers: Offers, ask: Ask) -> list[ChannelPlace]:
    """All of them, in the shop's order. The contract knows of no active one that does not sell online."""
    await offers.need(LIST_LOCATIONS, ask)
    told = answered(_Locations, await client.call(LIST_LOCATIONS, ask))
    return [
        ChannelPlace(one.id, one.name, active=one.active, sells_online=one.active, country=one.country)
        for one in told.data
    ]
