"""What the resolvers of one request share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from graphql import GraphQLResolveInfo

from sandbox.shopify.paging import Connection, Sort, page
from sandbox.shopify.search import Fields, Search, parse
from sandbox.shopify.state import Shop

Resolver = Callable[..., Any]
Resolvers = Mapping[str, Mapping[str, Resolver]]


@dataclass(slots=True)
class Call:
    """One GraphQL request: whose, in which API version, at which instant; what its searches warned of."""

    shop: Shop
    scopes: frozenset[str]
    version: str
    now: datetime
    searches: list[dict[str, Any]] = field(default_factory=list)

    def search(self, info: "Info", text: str | None, fields: Fields) -> Search:
        found = parse(text, fields, self.now)
        report = found.report(info.path.as_list())
        if report:
            self.searches.append(report)
        return found


Info: TypeAlias = GraphQLResolveInfo[Call]


def searched(
    info: Info,
    args: Mapping[str, Any],
    fields: Fields,
    keys: Sequence[int],
    build: Callable[[int], Any],
    sorts: Mapping[str, Sort | None],
    recent: tuple[datetime, Iterable[int]] | None = None,
) -> Connection:
    """A page of the rows that `query` takes. `recent` is an instant and all the keys changed since then."""
    search = info.context.search(info, args.get("query"), fields)
    return page(narrowed(search, keys, recent), args, build, search.matches, sorts.get(args.get("sortKey", "ID")))


def narrowed(
    search: Search, keys: Sequence[int], recent: tuple[datetime, Iterable[int]] | None = None
) -> Sequence[int]:
    """`keys`, or the few of them that the query can take."""
    few = search.candidates()
    if few is None and recent is not None:
        bound = search.lower_bound("updated_at")
        if bound is not None and bound > recent[0]:
            few = set(recent[1])
    return keys if few is None else sorted(key for key in few if key in keys)


def counted(info: Info, text: str | None, limit: int | None, fields: Fields, keys: Sequence[int]) -> Any:
    """A `Count`: exact up to `limit`, "at least" beyond it."""
    search = info.context.search(info, text, fields)
    total = 0
    for key in narrowed(search, keys):
        if search.matches(key):
            total += 1
            if limit is not None and total > limit:
                return {"count": limit, "precision": "AT_LEAST"}
    return {"count": total, "precision": "EXACT"}
