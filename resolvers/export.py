"""Lists that people have made files of, and the links by which these are fetched."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import LEDGER
from domain.errors import Invalid, NotFound
from domain.export import ExportList, ExportWanted, KeptExport
from domain.ids import ChannelId
from domain.operation import READERS, Capability, Kind, NewItem
from resolvers import channel
from resolvers.link import Links
from resolvers.report import Document
from resolvers.request import Accepted, Asked, Made, contents_hash, keep
from resolvers.shelf import Shelf
from store import export

LINKS = Links("/exports/", "links to exports")

KINDS: Mapping[ExportList, Kind] = {
    ExportList.ORDERS: Kind.EXPORT_ORDERS,
    ExportList.RETURNS: Kind.EXPORT_ORDERS,
}
"""What an operation is that makes a file of a list; of those that are not named here EXPORT."""

_WITHOUT_CHANNEL = frozenset({ExportList.UNIT_COSTS, ExportList.BANK_LINES})
_AS_KNOWN = frozenset(
    {
        ExportList.PROFIT,
        ExportList.MONEY_LINES,
        ExportList.SETTLEMENT_LINES,
        ExportList.RESIDUALS,
        ExportList.UNIT_COSTS,
    }
)
_OF_SETTLEMENTS = frozenset(
    {
        ExportList.MONEY_LINES,
        ExportList.SETTLEMENTS,
        ExportList.SETTLEMENT_LINES,
        ExportList.RESIDUALS,
        ExportList.TRANSACTIONS,
        ExportList.BANK_LINES,
    }
)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A list that is wanted as a file."""

    wanted: ExportWanted
    idempotency_key: str | None = None


def scopes_for(wanted: ExportList) -> frozenset[str]:
    """Any of these may have the list."""
    return READERS[_kind(wanted)]


def _kind(wanted: ExportList) -> Kind:
    return KINDS.get(wanted, Kind.EXPORT)


async def request(shelf: Shelf, requested_by: str, correlation_id: str, asked: ExportRequest) -> Accepted:
    """Keep an operation that makes a file of a list, and wake its lane. The caller has one of `scopes_for`.

    A repeated idempotency key answers the first operation as it stands; with other contents it is a Conflict.
    """
    wanted = asked.wanted
    contents = contents_hash("export", wanted.told())

    async def lock(_: AsyncConnection) -> None:
        check(channel.ever(shelf), wanted)
        # Without a key nobody could be given a link.
        shelf.ring.check()

    async def make(_: AsyncConnection, __: None) -> Made:
        return [_item(wanted, contents)], []

    request = Asked(requested_by, correlation_id, contents, asked.idempotency_key)
    return await keep(shelf, request, _kind(wanted.list), lock, make)


async def progress(shelf: Shelf, items: Collection[int]) -> Mapping[int, KeptExport]:
    """How far the files of items have come; an item without one is missing."""
    async with shelf.store.begin() as tx:
        return await export.by_items(tx, items)


async def documents(shelf: Shelf, items: Collection[int]) -> Mapping[int, Document]:
    """The whole files that are kept for items, each with a new link; an item without one is missing."""
    return {
        id: Document(*LINKS.to(shelf, str(id)), bytes=one.bytes, content_type=one.wanted.format.content_type)
        for id, one in (await progress(shelf, items)).items()
        if one.done
    }


def check(channels: Collection[ChannelId], wanted: ExportWanted) -> None:
    """Raises Refused with the field for what a list cannot be asked by."""
    if wanted.channel is not None and wanted.channel not in channels:
        raise NotFound(f"There is no channel {wanted.channel}.", field=("channelId",))
    if wanted.start is not None and wanted.end is not None and not wanted.start < wanted.end:
        raise Invalid("`from` must lie before `to`.", field=("from",))
    name = wanted.list.value
    if wanted.channel is not None and wanted.list in _WITHOUT_CHANNEL:
        raise Invalid(f"{name} are of no channel; leave `channelId` out.", field=("channelId",))
    if wanted.known_at is not None and wanted.list not in _AS_KNOWN:
        told = ", ".join(sorted(one.value for one in _AS_KNOWN))
        raise Invalid(f"{name} can be had as they are now alone; `knownAt` is for {told}.", field=("knownAt",))
    if wanted.list is ExportList.PROFIT:
        if not wanted.by or len(set(wanted.by)) < len(wanted.by):
            raise Invalid("Name in `groupBy` what profit is to be told by, each once.", field=("groupBy",))
    elif wanted.by or wanted.currency is not None:
        field = "groupBy" if wanted.by else "currency"
        raise Invalid(f"`{field}` is for PROFIT alone; leave it out.", field=(field,))
    if wanted.settlement is not None and wanted.list not in _OF_SETTLEMENTS:
        told = ", ".join(sorted(one.value for one in _OF_SETTLEMENTS))
        raise Invalid(f"{name} are of no settlement; `settlementId` is for {told}.", field=("settlementId",))


def _item(wanted: ExportWanted, contents: str) -> NewItem:
    return NewItem(
        channel=LEDGER,
        capability=Capability.EXPORTS,
        resource=f"export:{contents}",
        key=wanted.list.value,
        payload=wanted.told(),
    )
