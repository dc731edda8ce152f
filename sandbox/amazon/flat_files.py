"""How flat files are written: each store has its own charset, its own ends of lines, and not all say which."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hand:
    """What a store's files are written in, and the content type that the document store tells."""

    charset: str
    content_type: str
    line_end: str
    gzip: bool


HANDS = {
    "US": Hand("utf-8", "text/plain; charset=UTF-8", "\n", gzip=True),
    "DE": Hand("cp1252", "text/plain", "\r\n", gzip=True),
    "FR": Hand("utf-8-sig", "text/plain", "\r\n", gzip=False),
    "JP": Hand("cp932", "text/plain; charset=Shift_JIS", "\r\n", gzip=True),
}


def written(hand: Hand, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    """A tab-separated file. Quotes stand for themselves; what the charset lacks becomes a question mark, as Amazon does it."""
    lines = ["\t".join(columns), *("\t".join(row) for row in rows)]
    return "".join(line + hand.line_end for line in lines).encode(hand.charset, "replace")
