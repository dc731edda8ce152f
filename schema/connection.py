"""Relay connections; each is declared beside what it connects."""

from __future__ import annotations

import strawberry

from resolvers.connection import Connection


@strawberry.federation.type(shareable=True, description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Page:
    """What every connection has beside its edges and nodes."""

    @strawberry.field
    def page_info(self, root: strawberry.Parent[Connection[object]]) -> PageInfo:
        edges = root.edges
        return PageInfo(
            has_next_page=root.has_next_page,
            has_previous_page=root.has_previous_page,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )

    @strawberry.field(description="How many there are in all; counted only when asked.")
    async def total_count(self, root: strawberry.Parent[Connection[object]]) -> int:
        return await root.count()
