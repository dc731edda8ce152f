"""What a GraphQL document of ours is. Each lies beside the code that sends it, or in documents.py where several do."""

from __future__ import annotations

from dataclasses import dataclass

PAGE = 250  # the most rows and the most ids that the platform takes at once
DEEPEST = 25_000  # rows after which paging must start anew, beyond the last row
MONEY = "{ shopMoney { amount currencyCode } }"
PAGE_INFO = "pageInfo { hasNextPage endCursor }"


@dataclass(frozen=True, slots=True)
class Document:
    """A document and its operation's name. `operation` are its root fields joined by "+": so the bill calls it. `cost` is in
    points, asked for before the first answer has told the true number. `itemized` mutations tell in their `userErrors` which
    entry of a list is wrong: those are left to whoever sent the list."""

    name: str
    operation: str
    cost: float
    text: str
    write: bool = False
    itemized: bool = False
