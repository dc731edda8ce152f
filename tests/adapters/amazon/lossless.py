"""Does all that a platform said arrive in our values?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from adapters.amazon.marketplaces import BY_ID
from adapters.transport import parse_json

WORDS = {"AFN": "CHANNEL", "Amazon": "CHANNEL", "MFN": "MERCHANT", "Merchant": "MERCHANT", **BY_ID}


def as_received(raw: object) -> Any:
    """An example of Amazon's, read as an answer is read."""
    return parse_json(json.dumps(raw).encode())


def leaves(raw: object, path: str = "$") -> Iterator[tuple[str, object]]:
    """(path, value); places in lists are not told apart. Nothing, no text and no facts are no leaves."""
    if isinstance(raw, Mapping):
        for name, value in raw.items():
            yield from leaves(value, f"{path}.{name}")
    elif isinstance(raw, list):
        for value in raw:
            yield from leaves(value, f"{path}[]")
    elif raw is not None and raw != "":
        yield path, raw


def lacking(raw: object, ours: object, aside: Collection[str] = ()) -> list[str]:
    """The leaves that have not arrived, and what is left `aside` without being there. Each value of ours stands for one leaf."""
    have = Counter(_told(value) for value in _flat(ours))
    used, missing = set(), []
    for path, value in leaves(raw):
        if path in aside:
            used.add(path)
        elif have[_told(value)]:
            have[_told(value)] -= 1
        else:
            missing.append(f"{path}: {value}")
    return missing + [f"{path} is not there" for path in sorted(set(aside) - used)]


def _flat(value: object) -> Iterator[object]:
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _flat(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _flat(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _flat(inner)
    elif value is not None:
        yield value


def _told(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | Decimal):
        return f"{Decimal(value).normalize():f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    text = WORDS.get(str(value), str(value))
    try:
        return _told(datetime.fromisoformat(text)) if "T" in text else text
    except ValueError:
        return text
