"""Reports that people ask platforms for, and the links by which their files are fetched."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.reports import Reports
from domain.channel import Channel
from domain.errors import Invalid, NotFound
from domain.ids import ChannelId
from domain.operation import Capability, Kind, NewItem
from domain.report import ReportWanted
from resolvers.link import Links
from resolvers.request import Accepted, Asked, Made, contents_hash, keep
from resolvers.shelf import Shelf
from store import report

LINKS = Links("/reports/", "links to reports")


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A report of each of `marketplaces` (country codes); None of all that the channel sells in."""

    channel: ChannelId
    report_type: str
    start: datetime | None = None
    end: datetime | None = None
    marketplaces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file that can be fetched at `url`, below the gateway's address, until `expires_at`, by whoever has the link."""

    url: str
    expires_at: datetime
    bytes: int
    content_type: str


async def request(
    shelf: Shelf, requested_by: str, correlation_id: str, wanted: ReportRequest, *, idempotency_key: str | None
) -> Accepted:
    """Keep an operation that asks for a report, with an item for each marketplace, and wake its lane.

    A repeated idempotency key answers the first operation as it stands; with other contents it is a Conflict.
    """
    contents = contents_hash(
        "report",
        wanted.channel,
        wanted.report_type,
        wanted.marketplaces,
        *(None if at is None else at.isoformat() for at in (wanted.start, wanted.end)),
    )

    async def lock(_: AsyncConnection) -> None:
        # Without a key nobody could be given a link.
        shelf.ring.check()

    async def make(_: AsyncConnection, __: None) -> Made:
        return _items(shelf, wanted), []

    asked = Asked(requested_by, correlation_id, contents, idempotency_key)
    return await keep(shelf, asked, Kind.REQUEST_REPORT, lock, make)


async def documents(shelf: Shelf, items: Collection[int]) -> Mapping[int, Document]:
    """The files that are kept for items, each with a new link; an item without one is missing."""
    async with shelf.store.begin() as tx:
        found = await report.by_items(tx, items)
    return {
        id: Document(*LINKS.to(shelf, str(id)), bytes=one.bytes, content_type=one.content_type)
        for id, one in found.items()
    }


def _items(shelf: Shelf, wanted: ReportRequest) -> Sequence[NewItem]:
    """Raises Refused with the field."""
    one = shelf.channels.get(wanted.channel)
    if one is None:
        raise NotFound(f"There is no channel {wanted.channel}.", field=("channelId",))
    able = {id: port.report_types for id, port in shelf.ports.items() if isinstance(port, Reports)}
    types = able.get(wanted.channel)
    if types is None:
        words = f"{one.name} makes no reports. Channels that do: {', '.join(sorted(able)) or 'none'}."
        raise Invalid(words, field=("channelId",))
    if wanted.report_type not in types:
        told = "; ".join(f"{name}: {holds}" for name, holds in types.items())
        words = f"{wanted.report_type!r} is no report that can be asked for here; none of these holds buyers. {told}."
        raise Invalid(words, field=("reportType",))
    _check_time(wanted, shelf.clock())
    return [_item(wanted, code) for code in _marketplaces(one, wanted)]


def _check_time(wanted: ReportRequest, now: datetime) -> None:
    if wanted.start is not None and not wanted.start < min(now, wanted.end or now):
        raise Invalid("`from` must lie before `to`, and in the past.", field=("from",))
    if wanted.end is not None and wanted.end > now:
        raise Invalid("`to` lies in the future; leave it out for now.", field=("to",))


def _marketplaces(one: Channel, wanted: ReportRequest) -> Sequence[str | None]:
    if wanted.marketplaces is None:
        return one.marketplaces or (None,)
    for index, code in enumerate(wanted.marketplaces):
        if code not in one.marketplaces:
            words = f"{one.name} does not sell in {code!r}, but in {', '.join(one.marketplaces) or 'no marketplace'}."
            raise Invalid(words, field=("marketplaces", str(index)))
    if not wanted.marketplaces or len(set(wanted.marketplaces)) < len(wanted.marketplaces):
        raise Invalid("Name at least one marketplace, and each once.", field=("marketplaces",))
    return wanted.marketplaces


def _item(wanted: ReportRequest, code: str | None) -> NewItem:
    told = ReportWanted(wanted.report_type, code, wanted.start, wanted.end)
    return NewItem(
        channel=wanted.channel,
        capability=Capability.REPORTS,
        resource=f"report:{wanted.channel}:{code or ''}:{wanted.report_type}",
        key="/".join(filter(None, (wanted.channel, code, wanted.report_type))),
        payload=told.told(),
    )
