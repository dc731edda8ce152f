"""What a resolver is told beside its arguments."""

from __future__ import annotations

from typing import Any

import strawberry

from resolvers.context import Context

Info = strawberry.Info[Context, None]


def path_of(info: strawberry.Info[Any, Any]) -> list[str | int]:
    """The field's response path, outermost first."""
    return info.path.as_list()
