"""What a resolver is told beside its arguments."""

from __future__ import annotations

from typing import Any, Protocol

import strawberry

from executor import Parents as AnyParents
from resolvers.context import Context

Info = strawberry.Info[Context, None]


class Parents(AnyParents, Protocol):
    """The same for a batch resolver, which is asked for all parents at once; `paths` are one per parent."""

    @property
    def context(self) -> Context: ...


def path_of(info: strawberry.Info[Any, Any]) -> list[str | int]:
    """The field's response path, outermost first."""
    return info.path.as_list()
