"""What can be met at a platform and what is done about it, as a table that tests walk and the docs print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from domain.errors import HouseError, OutcomeUnknown, Refused, Transient, Unauthorized


class Again(Enum):
    """When a call that failed so is made again."""

    NEVER = "never"
    RENEWED = "once, at once, with a new token"
    SLOT = "when there is a slot"
    BOUNDED = "a read: later, a few times; a write: only when reading back proves that it is not there"
    LATER = "later, a few times: nothing has happened"
    ACCOUNT = "each minute, until it is mended"


class Pauses(Enum):
    """Whose work waits meanwhile."""

    NOTHING = "nothing"
    OPERATION = "the operation, with all its callers"
    ACCOUNT = "the account"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about one kind of failure: the error that a read and a write end with, whether they are made again, and who
    waits. `status` is that of the answer; None where there is none."""

    met: str
    status: int | None
    read: type[HouseError]
    write: type[HouseError]
    again: Again
    pauses: Pauses = Pauses.NOTHING


def refused(met: str, status: int, kind: type[Refused]) -> Policy:
    """What asking again does not change."""
    return Policy(met, status, kind, kind, Again.NEVER)


def in_doubt(met: str, status: int | None) -> Policy:
    """What leaves open whether a write was carried out."""
    return Policy(met, status, Transient, OutcomeUnknown, Again.BOUNDED)


def shut(met: str, status: int, kind: type[Unauthorized], pauses: Pauses) -> Policy:
    """What somebody has to mend."""
    return Policy(met, status, kind, kind, Again.ACCOUNT, pauses)


def table(policies: Iterable[Policy]) -> str:
    """As a table of Markdown."""
    rows = [f"| {one.met} | {_names(one)} | {one.again.value} | {one.pauses.value} |" for one in policies]
    return "\n".join(("| met | a read, a write ends with | made again | waits |", "| --- | --- | --- | --- |", *rows))


def _names(one: Policy) -> str:
    if one.again is Again.RENEWED:
        return "nothing, if the new token is taken"
    names = dict.fromkeys((one.read.__name__, one.write.__name__))
    return ", ".join(f"`{name}`" for name in names)
