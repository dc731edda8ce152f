"""Files of settlements: what came of each, where it can be fetched, and reading a refused one again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from domain.channel import StreamName
from domain.errors import Conflict, NotFound
from domain.ids import ChannelId
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_moment_cursor, write_cursor
from resolvers.link import Link, Links
from resolvers.shelf import Shelf
from store import finance_file, stream

LINKS = Links("/settlement-files/", "settlement file")
FileState = finance_file.FileState
File = finance_file.FinanceFile


async def page(
    shelf: Shelf, first: int | None, after: str | None, *, channel: ChannelId | None, state: FileState | None
) -> Connection[File]:
    """Files, the last come first."""
    start = read_moment_cursor("settlementFiles", after, str)
    async with shelf.store.begin() as tx:
        found, has_next = await finance_file.page(tx, first=page_size(first), after=start, channel=channel, state=state)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await finance_file.count(tx, channel=channel, state=state)

    return connect(
        found, has_next, after, lambda one: write_cursor("settlementFiles", one.at.isoformat(), one.id), count
    )


async def of_settlements(shelf: Shelf, ids: Collection[str]) -> Mapping[str, File]:
    """The file that each settlement was kept from."""
    async with shelf.store.begin() as tx:
        return await finance_file.of_settlements(tx, ids)


def link(shelf: Shelf, one: File) -> Link | None:
    """Where its bytes can be fetched; None while they are coming, and where they are not kept. Raises Invalid without a key to
    sign links with."""
    return None if one.sha256 is None or not one.size else LINKS.to(shelf, one.id)


async def retry(shelf: Shelf, id: str) -> File:
    """Have a refused file read once more; one that is read already, or in the books, stays as it is. Raises Refused."""
    async with shelf.store.begin() as tx:
        one = await finance_file.by_id(tx, id)
        if one is None:
            raise NotFound("There is no such file.", field=("id",))
        if one.state is not FileState.REFUSED:
            return one
        if one.channel not in shelf.channels:
            raise Conflict(f"The channel {one.channel} is configured no more.", field=("id",))
        again = await finance_file.read_again(tx, id)
        if again is None:
            raise Conflict(f"Its bytes are not kept ({one.reason}): bring the file anew.", field=("id",))
        await stream.force(tx, one.channel, StreamName.SETTLEMENTS)
        return again
