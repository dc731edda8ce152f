"""Relay connections; the types are declared beside what they connect."""

from __future__ import annotations

import strawberry

from resolvers import connection as page


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


def page_info(root: page.Connection[object]) -> PageInfo:
    """The page's place."""
    edges = root.edges
    return PageInfo(
        has_next_page=root.has_next_page,
        has_previous_page=root.has_previous_page,
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )


async def total_count(root: page.Connection[object]) -> int:
    """How many there are in all, counted only when asked."""
    return await root.count()
