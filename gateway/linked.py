"""What can be fetched by links that end after ten minutes, labels to print and files of reports:

    GET /labels/<id>?expires=<seconds of the epoch>&signature=<hex>
    GET /reports/<id>?expires=<seconds of the epoch>&signature=<hex>
    GET /settlement-files/<id>?expires=<seconds of the epoch>&signature=<hex>
    GET /exports/<id>?expires=<seconds of the epoch>&signature=<hex>
    GET /journals/<number>-<layout>?expires=<seconds of the epoch>&signature=<hex>

The link is all that is asked for, so that a browser or a print server can fetch it; who may have one is decided where it is made
(`Label.url`, `Shipment.labelUrl`, `OperationItem.document`, `SettlementFile.url`, `Query.journalDocument`).
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from urllib.parse import parse_qs

from domain.errors import Refused
from domain.label import LabelFormat
from gateway.asgi import Receive, Scope, Send, request_id, respond, start
from resolvers import journal
from resolvers.export import LINKS as EXPORTS
from resolvers.label import LINKS as LABELS
from resolvers.link import Links
from resolvers.report import LINKS as REPORTS
from resolvers.settlement_file import LINKS as SETTLEMENT_FILES
from resolvers.shelf import Shelf
from store import export, finance_file, label, report
from store.keyring import Unopened
from store.session import UNAVAILABLE

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"
# What a label is, and what a file of it is called.
MEDIA = {
    LabelFormat.PDF: ("application/pdf", "pdf"),
    LabelFormat.PNG: ("image/png", "png"),
    LabelFormat.ZPL203: ("application/zpl", "zpl"),
    LabelFormat.ZPL300: ("application/zpl", "zpl"),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What is too long to be held at once: `size` bytes in all."""

    size: int
    parts: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class File:
    """What is sent, and what it is called."""

    content: bytes | Parts
    content_type: str
    name: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Things of one kind: what they are called, where a new link is to be had, and how one is found; None for one that is not
    kept (any more)."""

    noun: str
    field: str
    find: Callable[[Shelf, str], Awaitable[File | None]]


async def _label(shelf: Shelf, id: str) -> File | None:
    async with shelf.store.begin() as tx:
        found = await label.document(tx, shelf.ring, id)
    if found is None:
        return None
    media, ending = MEDIA[found.format]
    return File(found.data, media, f"label-{id}.{ending}")


async def _report(shelf: Shelf, id: str) -> File | None:
    async with shelf.store.begin() as tx:
        found = await report.file(tx, int(id))
    if found is None:
        return None
    file = await asyncio.to_thread(found.unpacked)
    media = file.content_type
    if not media.isascii() or not media.isprintable() or not media:
        media = "application/octet-stream"
    return File(file.content, media, f"report-{id}.{'json' if 'json' in media else 'txt'}")


async def _settlement_file(shelf: Shelf, id: str) -> File | None:
    # A million rows are some 15 MiB as they lie there, packed.
    content = b"".join([part async for part in finance_file.packed(shelf.store, id)])
    return File(content, "application/gzip", f"settlement-{id}.txt.gz") if content else None


async def _export(shelf: Shelf, id: str) -> File | None:
    async with shelf.store.begin() as tx:
        found = (await export.by_items(tx, [int(id)])).get(int(id))
    if found is None or not found.done:
        return None
    name = f"{found.wanted.list.value.lower()}-{id}.{found.wanted.format.value.lower()}"
    return File(Parts(found.bytes, _unpacked(shelf, int(id))), found.wanted.format.content_type, name)


async def _journal(shelf: Shelf, id: str) -> File | None:
    wanted = journal.read_link(id)
    try:
        found = None if wanted is None else await journal.file(shelf.store, shelf.chart, *wanted)
    except Refused:  # the chart is another one since the link was made
        return None
    return None if found is None else File(found.content, found.media, found.name)


async def _unpacked(shelf: Shelf, item: int) -> AsyncIterator[bytes]:
    """The parts of an export. One that is forgotten meanwhile ends too early, which its length tells."""
    for number in count():
        async with shelf.store.begin() as tx:
            packed = await export.part(tx, item, number)
        if packed is None:
            return
        yield await asyncio.to_thread(gzip.decompress, packed)


KEPT: Mapping[Links, Kept] = {
    LABELS: Kept("label", "Label.url", _label),
    REPORTS: Kept("report", "OperationItem.document", _report),
    SETTLEMENT_FILES: Kept("file", "SettlementFile.url", _settlement_file),
    EXPORTS: Kept("export", "OperationItem.document", _export),
    journal.LINKS: Kept("journal", "Query.journalDocument", _journal),
}
PREFIXES = tuple(links.prefix for links in KEPT)


class Linked:
    """Answers under `PREFIXES`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        id = request_id(scope)
        status, body, headers = await self._answer(scope, id)
        headers = {"x-request-id": id, **headers}
        if scope["method"] == "HEAD":
            await respond(send, status, b"", headers)
        elif isinstance(body, bytes):
            await respond(send, status, body, headers)
        else:
            await start(send, status, {**headers, "content-length": str(body.size)})
            async for part in body.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, request: str) -> tuple[int, bytes | Parts, dict[str, str]]:
        if scope["method"] not in ("GET", "HEAD"):
            return _words(405, "Only GET is answered here.")
        links, kept = next(one for one in KEPT.items() if scope["path"].startswith(one[0].prefix))
        id = scope["path"].removeprefix(links.prefix)
        told = parse_qs(scope["query_string"].decode("latin-1"))
        expires, signature = (told.get(name, [""])[0] for name in ("expires", "signature"))
        if not links.good(self._shelf, id, expires, signature):
            return _words(403, f"This link is not one of ours, or it has ended. Ask for a new one: {kept.field}.")
        try:
            found = await kept.find(self._shelf, id)
        except UNAVAILABLE:
            return _words(503, "The database does not answer; try again in a moment.")
        except Unopened:
            return _words(410, f"This {kept.noun} cannot be opened any more.")
        if found is None:
            return _words(410, f"This {kept.noun} is not kept any more.")
        log.info(f"{kept.noun}.fetched", extra={kept.noun: id, "request_id": request})
        disposition = f'attachment; filename="{found.name}"'
        return 200, found.content, {"content-type": found.content_type, "content-disposition": disposition}


def _words(status: int, words: str) -> tuple[int, bytes, dict[str, str]]:
    headers = {"content-type": TEXT}
    if status == 405:
        headers["allow"] = "GET, HEAD"
    return status, f"{words}\n".encode(), headers
