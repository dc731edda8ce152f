"""Listings Items 2021-08-01: searchListingsItems."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any, TypeAlias

from sandbox.amazon import listings
from sandbox.amazon.auth import Account
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query, seal, unseal
from sandbox.amazon.state import Amazon

PARAMETERS = (
    *listings.GET_PARAMETERS,
    "identifiers",
    "identifiersType",
    "variationParentSku",
    "packageHierarchySku",
    "createdAfter",
    "createdBefore",
    "lastUpdatedAfter",
    "lastUpdatedBefore",
    "withIssueSeverity",
    "withStatus",
    "withoutStatus",
    "sortBy",
    "sortOrder",
    "pageSize",
    "pageToken",
)
PAGEABLE = 1_000
"""Items beyond these cannot be paged to; `numberOfResults` counts them all the same."""

_TYPES = ("ASIN", "EAN", "FNSKU", "GTIN", "ISBN", "JAN", "MINSAN", "SKU", "UPC")
_FIELDS = ("createdDate", "lastUpdatedDate")
_STATUSES = ("BUYABLE", "DISCOVERABLE")
_INDEX_BITS = 20
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

Keys: TypeAlias = "array[int]"
"""Sorted; each a time in milliseconds and the index of a product in the low bits: 8 bytes for each of a million."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request asks for. `windows` are (after, before) of createdDate and lastUpdatedDate."""

    codes: list[str]
    identified: list[int] | None
    windows: tuple[tuple[datetime | None, datetime | None], ...]
    severities: list[str]
    with_status: list[str]
    without_status: list[str]
    sort_by: str
    descending: bool

    @property
    def field(self) -> int:
        """The time to look the listings up by: one that has a window, else the one to sort by."""
        for number in (1, 0):
            if any(self.windows[number]):
                return number
        return _FIELDS.index(self.sort_by) if self.sort_by in _FIELDS else 1

    @property
    def plain(self) -> bool:
        """Whether the kept order of one time answers it without looking at each listing."""
        return (
            self.identified is None
            and self.sort_by == _FIELDS[self.field]
            and not any(self.windows[1 - self.field])
            and not (self.severities or self.with_status or self.without_status)
        )


class Search:
    """Keeps the sorted world and the last results, since every page asks the same again."""

    def __init__(self, amazon: Amazon) -> None:
        self._amazon = amazon
        self._sorted: dict[tuple[int, bool], Keys] = {}
        self._kept: dict[tuple[str, str], tuple[int, int, list[int]]] = {}

    def answer(self, account: Account, query: Query) -> dict[str, Any]:
        """One page. Raises 400 for what the model forbids, also together."""
        wish = self._wish(account, query)
        included = query.csv("includedData", among=listings.INCLUDED) or ["summaries"]
        size = query.count("pageSize", 1, 20, 10)
        bound = query.digest(without=["pageToken", "includedData", "issueLocale"])
        position = _position(query, account, bound)
        count, found = self._results(account, wish, bound)
        pages: dict[str, str] = {}
        if position + size < len(found):
            pages["nextToken"] = _token(account, bound, position + size)
        if position:
            pages["previousToken"] = _token(account, bound, max(0, position - size))
        answer: dict[str, Any] = {"numberOfResults": count}
        if pages:
            answer["pagination"] = pages
        product = self._amazon.world.product
        answer["items"] = [
            listings.item(self._amazon, account, product(index), wish.codes, included)
            for index in found[position : position + size]
        ]
        return answer

    def _wish(self, account: Account, query: Query) -> _Wish:
        windows = tuple(
            (query.instant(f"{name}After"), query.instant(f"{name}Before")) for name in ("created", "lastUpdated")
        )
        if any(after and before and after > before for after, before in windows):
            raise query.wrong("A window ends before it begins.")
        return _Wish(
            codes=listings.marketplaces(query, account),
            identified=self._identified(query),
            windows=windows,
            severities=query.csv("withIssueSeverity", among=("WARNING", "ERROR")),
            with_status=query.csv("withStatus", among=_STATUSES),
            without_status=query.csv("withoutStatus", among=_STATUSES),
            sort_by=query.one_of("sortBy", ("sku", *_FIELDS), "lastUpdatedDate") or "",
            descending=query.one_of("sortOrder", ("ASC", "DESC"), "DESC") == "DESC",
        )

    def _identified(self, query: Query) -> list[int] | None:
        """The products named by identifiers; None when none are named."""
        identifiers = query.csv("identifiers", most=20)
        kind = query.one_of("identifiersType", _TYPES)
        parents = [name for name in ("variationParentSku", "packageHierarchySku") if query.has(name)]
        if bool(identifiers) != bool(kind):
            raise query.wrong("'identifiers' and 'identifiersType' are given together.")
        if len(parents) + bool(identifiers) > 1:
            raise query.wrong("Give one of 'identifiers', 'variationParentSku' and 'packageHierarchySku'.")
        if parents:
            # Nothing here is a variation parent or a package of another.
            return []
        if not identifiers:
            return None
        found = {self._index(str(kind), identifier) for identifier in identifiers}
        return sorted(index for index in found if index is not None)

    def _index(self, kind: str, identifier: str) -> int | None:
        world = self._amazon.world
        match kind:
            case "SKU":
                return world.index(identifier)
            case "ASIN":
                return world.by_asin(identifier)
            case "FNSKU":
                return world.by_asin("B0" + identifier.removeprefix("X0"))
            case "EAN" | "GTIN":
                return world.by_ean(identifier.removeprefix("0") if kind == "GTIN" else identifier)
        return None

    def _results(self, account: Account, wish: _Wish, bound: str) -> tuple[int, list[int]]:
        """How many match, and the first of them that can be paged to."""
        key = (account.seller, bound)
        changes, count, found = self._kept.get(key, (-1, 0, []))
        if changes != self._amazon.changes:
            count, found = self._quick(account, wish) if wish.plain else self._thorough(account, wish)
            if len(self._kept) >= 16:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (self._amazon.changes, count, found)
        return count, found

    def _quick(self, account: Account, wish: _Wish) -> tuple[int, list[int]]:
        """Out of the kept order, with the changed listings woven in: costs what it gives, not what there is."""
        field = wish.field
        keys, low, high = self._window(wish)
        touched = self._touched(account)
        places = [bisect_left(keys, _key(self._amazon.listed_at(index)[field], index)) for index in touched]
        moved = sum(low <= place < high for place in places)
        changed = sorted(
            (_key(self._times(account, index)[field], index) for index in touched if self._keeps(account, wish, index)),
            reverse=wish.descending,
        )
        step = range(high - 1, low - 1, -1) if wish.descending else range(low, high)
        still = (keys[place] for place in step if _index(keys[place]) not in touched)
        woven = islice(merge(still, changed, reverse=wish.descending), PAGEABLE)
        return high - low - moved + len(changed), [_index(key) for key in woven]

    def _thorough(self, account: Account, wish: _Wish) -> tuple[int, list[int]]:
        """By looking at every listing there may be."""
        kept = [index for index in self._candidates(account, wish) if self._keeps(account, wish, index)]
        if wish.sort_by == "sku":
            kept.sort(key=lambda index: self._amazon.world.product(index).sku, reverse=wish.descending)
        else:
            field = _FIELDS.index(wish.sort_by)
            kept.sort(key=lambda index: (self._times(account, index)[field], index), reverse=wish.descending)
        return len(kept), kept[:PAGEABLE]

    def _candidates(self, account: Account, wish: _Wish) -> Iterator[int]:
        if wish.identified is not None:
            yield from wish.identified
            return
        touched = self._touched(account)
        keys, low, high = self._window(wish)
        for place in range(low, high):
            if (index := _index(keys[place])) not in touched:
                yield index
        yield from touched

    def _window(self, wish: _Wish) -> tuple[Keys, int, int]:
        """The kept order of the wish's time, and where its window begins and ends in it."""
        everywhere = "US" not in wish.codes
        field = wish.field
        keys = self._sorted.get((field, everywhere))
        if keys is None:
            world, listed_at = self._amazon.world, self._amazon.listed_at
            indexes = (i for i in range(world.size) if world.everywhere(i) or not everywhere)
            keys = array("q", sorted(_key(listed_at(index)[field], index) for index in indexes))
            self._sorted[field, everywhere] = keys
        after, before = wish.windows[field]
        low = bisect_left(keys, _key(after, 0)) if after else 0
        high = bisect_right(keys, _key(before, (1 << _INDEX_BITS) - 1)) if before else len(keys)
        return keys, low, high

    def _touched(self, account: Account) -> set[int]:
        return {index for seller, index in self._amazon.listings if seller == account.seller}

    def _keeps(self, account: Account, wish: _Wish, index: int) -> bool:
        times = self._times(account, index)
        for time, (after, before) in zip(times, wish.windows, strict=True):
            if (after and time < after) or (before and time > before):
                return False
        listed = self._amazon.world.marketplaces_of(index)
        here = [code for code in wish.codes if code in listed]
        if not here:
            return False
        product = (
            self._amazon.world.product(index) if wish.severities or wish.with_status or wish.without_status else None
        )
        if product is None:
            return True
        found = {issue["severity"] for issue in listings.issues(self._amazon, account, product, here)}
        if wish.severities and not found & set(wish.severities):
            return False
        statuses = {one for code in here for one in listings.status(self._amazon, account, product, code)}
        return set(wish.with_status) <= statuses and not statuses & set(wish.without_status)

    def _times(self, account: Account, index: int) -> tuple[datetime, datetime]:
        known = self._amazon.listings.get((account.seller, index))
        return (known.created_at, known.updated_at) if known else self._amazon.listed_at(index)


def _key(at: datetime, index: int) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1) << _INDEX_BITS | index


def _index(key: int) -> int:
    return key & ((1 << _INDEX_BITS) - 1)


def _position(query: Query, account: Account, bound: str) -> int:
    token = query.text("pageToken")
    if token is None:
        return 0
    contents = unseal(token)
    if contents is None or contents.get("to") != "listings" or contents["of"] != account.seller:
        raise query.wrong("'pageToken' is invalid.")
    if contents["for"] != bound:
        raise query.wrong("'pageToken' belongs to a request with other parameters.")
    return int(contents["at"])


def _token(account: Account, bound: str, position: int) -> str:
    return seal({"to": "listings", "at": position, "of": account.seller, "for": bound})


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""
    listed = Search(amazon)

    def answer(asked: Asked) -> dict[str, Any]:
        return listed.answer(listings.own(asked), asked.query)

    return [Operation("searchListingsItems", "GET", listings.ITEMS, answer, PARAMETERS, "BAD_REQUEST")]
