"""Documents: files that Amazon keeps in a store of its own, behind addresses that are signed and die after five minutes.

Such an address takes neither token nor budget, and whoever has it has the file: it is never logged with its query.
Sources: Reports 2021-06-30 (getReportDocument), Feeds 2021-06-30 (createFeedDocument), Data Kiosk 2023-11-15 (getDocument).
"""

from __future__ import annotations

import codecs
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message

from adapters.amazon.client import Client
from adapters.gzipped import Broken, Unpacking
from adapters.transport import Call, Stream
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import Refused, Transient

DOWNLOAD = "download"
UPLOAD = "upload"

LINE_BYTES = 16 * 1024 * 1024
# A store that goes on drop by drop is given up.
LONGEST_S = 3600.0

# What flat files of a store are written in where nothing says so and it is not UTF-8.
LEGACY = {"JP": "cp932"}
WESTERN = "cp1252"
# Amazon's names for what is, in all files seen, the wider code page of Windows.
WIDER = {"iso8859-1": WESTERN, "shift_jis": "cp932", "windows-31j": "cp932", "ascii": "utf-8"}
# Only these: in them no part of a character looks like the end of a line.
READABLE = frozenset({"utf-8", "cp1252", "cp932", "iso8859-15", "euc_jp"})


class Expired(Transient):
    """The address has died: ask for the document again, and go on with the address that comes."""


@dataclass(frozen=True, slots=True)
class Body:
    """A file that is still coming: what its store says it is, and its bytes, unpacked."""

    content_type: str
    chunks: AsyncIterator[bytes]


async def download(client: Client, url: str, *, gzipped: bool, ask: Ask) -> AsyncIterator[bytes]:
    """The bytes of a document, unpacked, in pieces of 64 KiB at most.

    Raises Expired when the address has died, Transient for a file that was cut or damaged: what was told until then is not the
    file, and only a walk to the end without an error is.
    """
    async with opened(client, url, gzipped=gzipped, ask=ask) as body:
        async for chunk in body.chunks:
            yield chunk


@asynccontextmanager
async def opened(client: Client, url: str, *, gzipped: bool, ask: Ask) -> AsyncIterator[Body]:
    """A document as `download` gives it, with its content type."""
    ask.bill.line(client.channel, DOWNLOAD).calls += 1
    async with client.transport.stream(url, call=Call(client.channel, DOWNLOAD)) as stream:
        if stream.status != 200:
            raise _failure("download", stream.status)
        # Where it was asked for, the store unpacks nothing but only says that the file is packed.
        packed = gzipped or stream.headers.get("content-encoding", "").lower() == "gzip"
        chunks = _whole(stream)
        yield Body(stream.headers.get("content-type", ""), _unpacked(chunks) if packed else chunks)


async def upload(client: Client, url: str, content: bytes, content_type: str, ask: Ask) -> None:
    """Put `content` where the address says; `content_type` is letter for letter what the document was created with.

    To put it twice is to put it once. Raises Expired and Transient; Refused when the store will not have it.
    """
    ask.bill.line(client.channel, UPLOAD).calls += 1
    answer = await client.transport.send(
        "PUT",
        url,
        write=False,
        headers={"content-type": content_type},
        content=content,
        call=Call(client.channel, UPLOAD),
    )
    if answer.status != 200:
        raise _failure("upload", answer.status)


async def decoded(
    chunks: AsyncIterator[bytes], content_type: str = "", marketplace: str | None = None
) -> AsyncIterator[str]:
    """The lines of a text file, without their ends.

    Written in the charset that `content_type` names. Where it names none: in UTF-8, or else in what files of the store (by its
    country code) were always written in; the first line beyond ASCII tells which of both. Raises Unclear, naming line and byte,
    for what cannot be read in it, and for a charset that is not known.
    """
    reader = _Reader(charsets(content_type, marketplace))
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        if len(rest) > LINE_BYTES:
            raise Unclear(f"line {reader.number + 1} is longer than {LINE_BYTES} bytes")
        *whole, last = rest.split(b"\n")
        rest = last
        for line in whole:
            yield reader.read(bytes(line))
    if rest:
        yield reader.read(bytes(rest))


class _Reader:
    """Lines to text; the first one beyond ASCII leaves one of the charsets."""

    def __init__(self, charsets: tuple[str, ...]) -> None:
        self._charsets = charsets
        self.number = 0

    def read(self, line: bytes) -> str:
        self.number += 1
        if self.number == 1:
            line = self._without_mark(line)
        line = line.removesuffix(b"\r")
        if line.isascii():
            return line.decode("ascii")
        for place, charset in enumerate(self._charsets):
            try:
                text = line.decode(charset)
            except UnicodeDecodeError as problem:
                if place + 1 < len(self._charsets):
                    continue
                raise Unclear(f"line {self.number}, byte {problem.start + 1} is not {charset}") from problem
            self._charsets = (charset,)
            return text
        raise AssertionError("there is one charset at least")

    def _without_mark(self, line: bytes) -> bytes:
        if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Unclear("the file is written in UTF-16, which no file of Amazon's should be")
        if line.startswith(codecs.BOM_UTF8):
            self._charsets = ("utf-8",)
            return line.removeprefix(codecs.BOM_UTF8)
        return line


def charsets(content_type: str, marketplace: str | None) -> tuple[str, ...]:
    """What a file may be written in, best first: what is said of it, and where nothing is, UTF-8 or what files of the store (by
    its country code) were always written in. Raises Unclear for a charset that we do not read."""
    header = Message()
    header["content-type"] = content_type
    told = header.get_content_charset()
    if told is None:
        return ("utf-8", LEGACY.get(marketplace or "", WESTERN))
    try:
        name = codecs.lookup(told).name
    except LookupError:
        name = told
    name = WIDER.get(name, name)
    if name not in READABLE:
        raise Unclear(f"the file is said to be written in {told}, which we do not read")
    return (name,)


def _failure(what: str, status: int) -> Transient | Refused:
    if status == 403:
        return Expired(f"The address for the {what} of a document is not valid any more; ask for the document again.")
    if status in (408, 429) or status >= 500:
        return Transient(f"Amazon's store answered the {what} of a document with {status}.")
    return Refused(f"Amazon's store refuses the {what} of a document ({status}).")


async def _whole(stream: Stream) -> AsyncIterator[bytes]:
    """The bytes on the wire, all of those that were announced."""
    announced = stream.headers.get("content-length")
    until = time.monotonic() + LONGEST_S
    count = 0
    async for chunk in stream.chunks:
        count += len(chunk)
        if time.monotonic() > until:
            raise Transient(f"A document is not there after {LONGEST_S:.0f} s; it is left unread.")
        yield chunk
    if announced is not None and count != int(announced):
        raise Transient(f"A document of {announced} bytes came with {count}.")


async def _unpacked(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What lies in a gzip file. Raises Transient unless it comes to its end and its check sum is right."""
    unpacking = Unpacking()
    try:
        async for chunk in chunks:
            for piece in unpacking.feed(chunk):
                yield piece
        unpacking.close()
    except Broken as problem:
        raise Transient(f"A document {problem}") from problem
