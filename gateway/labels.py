"""Labels to print, by links that end after ten minutes:

    GET /labels/<id>?expires=<seconds of the epoch>&signature=<hex>

The link is all that is asked for, so that a browser or a print server can fetch it; who may have one is decided where it is made
(`Label.url`, `Shipment.labelUrl`).
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qs

from domain.label import LabelFormat
from gateway.asgi import Receive, Scope, Send, request_id, respond
from resolvers.label import LINKS, PREFIX, link_text
from resolvers.shelf import Shelf
from store import label
from store.keyring import Unopened
from store.session import UNAVAILABLE

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"
# What it is, and what a file of it is called.
MEDIA = {
    LabelFormat.PDF: ("application/pdf", "pdf"),
    LabelFormat.PNG: ("image/png", "png"),
    LabelFormat.ZPL203: ("application/zpl", "zpl"),
    LabelFormat.ZPL300: ("application/zpl", "zpl"),
}


class Labels:
    """Answers under /labels/."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        id = request_id(scope)
        status, body, headers = await self._answer(scope, id)
        await respond(send, status, b"" if scope["method"] == "HEAD" else body, {"x-request-id": id, **headers})

    async def _answer(self, scope: Scope, request: str) -> tuple[int, bytes, dict[str, str]]:
        if scope["method"] not in ("GET", "HEAD"):
            return _words(405, "Only GET is answered here.")
        id = scope["path"].removeprefix(PREFIX)
        if not self._signed(id, scope["query_string"]):
            return _words(403, "This link is not one of ours, or it has ended. Ask for a new one: Label.url.")
        try:
            async with self._shelf.store.begin() as tx:
                found = await label.document(tx, self._shelf.ring, id)
        except UNAVAILABLE:
            return _words(503, "The database does not answer; try again in a moment.")
        except Unopened:
            return _words(410, "This label cannot be opened any more.")
        if found is None:
            return _words(410, "This label is not kept any more.")
        log.info("label.fetched", extra={"label": id, "request_id": request})
        media, ending = MEDIA[found.format]
        headers = {"content-type": media, "content-disposition": f'attachment; filename="label-{id}.{ending}"'}
        return 200, found.data, headers

    def _signed(self, id: str, query: bytes) -> bool:
        told = parse_qs(query.decode("latin-1"))
        expires, signature = (told.get(name, [""])[0] for name in ("expires", "signature"))
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12 and signature.isascii()):
            return False
        # The signature first: the clock says nothing to who has none.
        signed = self._shelf.ring.signed(LINKS, link_text(id, int(expires)), signature)
        return signed and self._shelf.clock().timestamp() < int(expires)


def _words(status: int, words: str) -> tuple[int, bytes, dict[str, str]]:
    headers = {"content-type": TEXT}
    if status == 405:
        headers["allow"] = "GET, HEAD"
    return status, f"{words}\n".encode(), headers
