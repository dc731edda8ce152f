"""Where in the answer a field stands."""

from __future__ import annotations

from typing import Any

import strawberry


def path_of(info: strawberry.Info[Any, Any]) -> list[str | int]:
    """The field's response path, outermost first."""
    return info.path.as_list()
