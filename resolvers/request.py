"""What all requests for a change have in common: words that can be kept, and a key under which a repetition finds the first."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from domain.errors import Invalid, Refused
from domain.operation import Operation

LONGEST_WORD = 100


@dataclass(slots=True)
class Accepted:
    """The operation, or why nothing was kept."""

    operation: Operation | None
    problems: list[Refused]


def check_word(field: str, word: str, at: tuple[str, ...] = (), longest: int = LONGEST_WORD) -> None:
    """Raises Invalid for what people could not read."""
    if not word.strip() or len(word) > longest or not word.isprintable():
        raise Invalid(f"`{field}` must be 1 to {longest} printable characters.", field=(*at, field))


def check_key(idempotency_key: str | None) -> None:
    """Raises Invalid for an idempotency key that cannot be kept."""
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= LONGEST_WORD:
        raise Invalid(
            f"An idempotency key has 1 to {LONGEST_WORD} characters; leave it out for none.", field=("idempotencyKey",)
        )


def contents_hash(*told: object) -> str:
    """A hash of what was asked, as JSON values: equal for equal requests."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
