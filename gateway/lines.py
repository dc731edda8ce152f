"""Where in a TOML file a key stands. `tomllib` reads values only, and a mistake wants its line."""

from __future__ import annotations

import re
import tomllib
from typing import Any

Place = tuple[str | int, ...]

_PART = r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[A-Za-z0-9_-]+)"
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_TABLE = re.compile(rf"\s*(\[\[?)\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\]?\s*(?:#.*)?$")


class Lines:
    """The line of each table and key of a file, counted from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {(): 1}
        self._counts: dict[Place, int] = {}
        table: Place = ()
        open_text: str | None = None
        for number, line in enumerate(text.splitlines(), start=1):
            if open_text is not None:
                open_text = None if line.count(open_text) % 2 else open_text
                continue
            if header := _TABLE.match(line):
                table = self._open(_parts(header[2]), array=header[1] == "[[")
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, *_parts(key[1])), number)
                open_text = next((quote for quote in ('"""', "'''") if line.count(quote) % 2), None)

    def of(self, place: Place) -> int:
        """The line of the key, or of the nearest table around it."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]

    def _open(self, parts: list[str], *, array: bool) -> Place:
        """The place of a table: within the newest element of each array of tables on the way."""
        place: Place = ()
        for part in parts[:-1]:
            place = self._newest((*place, part))
        place = (*place, parts[-1])
        if not array:
            return self._newest(place)
        self._counts[place] = self._counts.get(place, 0) + 1
        return self._newest(place)

    def _newest(self, place: Place) -> Place:
        count = self._counts.get(place, 0)
        return (*place, count - 1) if count else place


def _parts(dotted: str) -> list[str]:
    """The names in a dotted key, as TOML itself reads them."""
    parts: list[str] = []
    read: Any = tomllib.loads(f"{dotted} = 0")
    while isinstance(read, dict):
        name, read = next(iter(read.items()))
        parts.append(name)
    return parts
