"""What a file of a settlement is read by, whichever channel wrote it.

A reader is given the bytes as they come and gives back rows, in little memory. Only who has come to its `close` without an error
has a settlement: until then any row may be one of a file that is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.channel import Channel
from domain.errors import Invalid
from domain.money import Money
from domain.settlement import Statement, StatementRow


class FileRefused(Invalid):
    """A file that is not taken, nothing of it. The message says where, what stands there, and what to do."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of the whole, in its first lines."""

    external_id: str
    starts_at: datetime
    ends_at: datetime
    deposited_at: datetime | None
    total: Money


class Reader(Protocol):
    """One file, from its first byte on. `head` is there as soon as its lines are behind; `rows` counts those that were told.
    Its words for money are those of the table `words` (`domain.money_words`)."""

    words: str
    head: Head | None
    rows: int

    def feed(self, chunk: bytes) -> list[StatementRow]:
        """The rows that end in the next bytes, in their order. Raises FileRefused."""
        ...

    def close(self) -> list[StatementRow]:
        """The last rows, when there are no more bytes. Raises FileRefused, also where the rows do not come to the total."""
        ...

    def statement(self, channel: Channel, marketplace: str | None = None) -> Statement:
        """The whole, behind `close`, as one of a channel; `marketplace` where who brought the file knows it. Raises
        FileRefused for one that cannot be that channel's."""
        ...

    @property
    def dialect(self) -> Mapping[str, object]:
        """How the file is written, as far as it was read: as JSON."""
        ...


class Read(Protocol):
    """How a channel's files are read."""

    def __call__(self, content_type: str = "", *, utf8: bool = True) -> Reader:
        """A reader for one file. `content_type` is what came along with it, a charset in it is binding; `utf8` says whether
        all of its bytes are UTF-8. Raises FileRefused for a charset that we do not read."""
        ...
