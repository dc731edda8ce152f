"""SKUs in a query. Source: docs/rest/openapi.yaml, `listVariants` and `listStock`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

MOST = 100
# Servers take request lines of 8,000 characters and little more, and a SKU in Japanese has nine of them for each of its own.
LONGEST = 6_000


def parts(skus: Sequence[str]) -> Iterator[str]:
    """The values of `sku` that ask for all of them, at most 100 in each and none longer than a server takes. In one part, unless
    they are very long."""
    part: list[str] = []
    length = 0
    for sku in skus:
        more = len(quote(listed([sku]), safe="")) + len("%2C")
        if part and (len(part) == MOST or length + more > LONGEST):
            yield listed(part)
            part, length = [], 0
        part.append(sku)
        length += more
    if part:
        yield listed(part)


def listed(skus: Iterable[str]) -> str:
    """The value of `sku`, before it is encoded as any value of a query: a comma in a SKU must not part it."""
    return ",".join(sku.replace("%", "%25").replace(",", "%2C") for sku in skus)
