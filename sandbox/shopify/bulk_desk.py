"""What a shop knows of its bulk operations: those there were, the files it was handed, and how they are to go."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from sandbox.shopify import ids

Kind = Literal["QUERY", "MUTATION"]
ENDED = frozenset({"COMPLETED", "CANCELED", "FAILED", "EXPIRED"})
PLACES = 5


@dataclass(slots=True)
class Work:
    """What an operation has come to: its lines, and how many objects stand behind them."""

    lines: list[bytes]
    roots: int
    error: str | None = None


@dataclass(slots=True)
class Operation:
    """One bulk operation. `work` does it, once; `secret` is in the address of its file."""

    typename: ClassVar[str] = "BulkOperation"
    place: int
    type: Kind
    query: str
    created_at: datetime
    work: Callable[[], Work]
    secret: str
    status: str = "CREATED"
    error_code: str | None = None
    done_at: datetime | None = None
    completed_at: datetime | None = None
    found: Work | None = None
    whole: bool = True

    @property
    def id(self) -> str:
        return ids.gid("BulkOperation", self.place)

    @property
    def file(self) -> bytes:
        return b"" if self.found is None else b"".join(self.found.lines)

    @property
    def object_count(self) -> str:
        return str(len(self.found.lines)) if self.found else "0"

    @property
    def root_object_count(self) -> str:
        return str(self.found.roots) if self.found else "0"

    @property
    def file_size(self) -> str | None:
        return str(len(self.file)) if self.ended and self.file else None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(slots=True)
class Course:
    """How operations go. They wait `created_s` and run `run_s` and `object_s` per line, in sandbox seconds; `places` run at a
    time. The next ones end as `endings` say: {"status", "errorCode", "share" of the lines told}. Lines come in another order
    (`shuffle`), and of the next mutation the first `omit` rows are carried out without being told."""

    created_s: float = 0.0
    run_s: float = 0.2
    object_s: float = 0.0
    places: int = PLACES
    shuffle: bool = False
    omit: int = 0
    endings: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Desk:
    """`targets` are the places that were given out for uploads, by key, with their policy; `files` what was laid there."""

    course: Course = field(default_factory=Course)
    operations: list[Operation] = field(default_factory=list)
    targets: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def under_way(self, kind: Kind) -> Iterator[Operation]:
        return (one for one in self.operations if one.type == kind and not one.ended)
