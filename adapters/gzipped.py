"""What lies in a gzip file that somebody else has made, in little memory, however it comes and whatever it is."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE = 64 * 1024
# A file of stock unpacks to about ten times its size. What grows beyond this is no honest file.
RATIO = 200
RATIO_FROM = 16 * 1024 * 1024
MAGIC = b"\x1f\x8b"


class Broken(Exception):
    """It cannot be unpacked; the text goes on where a sentence has named the file: "A document …"."""


class Unpacking:
    """One gzip file, which may have several members. What was told of it is all of it when `close` raises nothing."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._in = self._out = 0
        self._members = 0
        self.ended = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What lies in the next bytes, in pieces of 64 KiB at most. Raises Broken."""
        self._in += len(chunk)
        full = False
        # A full piece may leave more of itself inside although nothing is left to put in.
        while chunk or full:
            if self._member.eof:
                # Some writers pad the end of a file with zeros.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return
                self._members += 1
                self._member = zlib.decompressobj(wbits=31)
                self.ended = False
            try:
                piece = self._member.decompress(chunk, PIECE)
            except zlib.error as problem:
                raise Broken(self._damage()) from problem
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self.ended, full = self._member.eof, len(piece) == PIECE
            self._out += len(piece)
            if self._out > max(RATIO_FROM, self._in * RATIO):
                raise Broken(f"unpacks to more than {RATIO} times its size; it is left unread.")
            if piece:
                yield piece

    def close(self) -> None:
        """There is nothing more. Raises Broken where there should be."""
        if not self.ended:
            raise Broken("was cut: its gzip file does not come to an end.")

    def _damage(self) -> str:
        if self._members:
            return "is damaged: behind the end of its gzip file stands something that is none."
        return "is damaged: its gzip file cannot be read."
