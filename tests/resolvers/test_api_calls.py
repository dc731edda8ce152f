"""Asking for calls: what is no place in their list is said before anything is looked for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from domain.errors import Invalid
from resolvers import api_calls
from resolvers.cursor import write_cursor
from resolvers.shelf import Shelf


@pytest.mark.parametrize(
    "place",
    [
        ("2026-11-28T12:00:00+00:00", str(2**63)),
        ("2026-11-28T12:00:00+00:00", "9" * 5_000),
        ("2026-11-28T12:00:00+00:00", "-1"),
        ("2026-11-28T12:00:00+00:00", "١"),
        ("2026-11-28T12:00:00+00:00",),
        ("yesterday", "1"),
    ],
)
async def test_a_cursor_that_no_page_has_given_is_refused(place: tuple[str, ...]) -> None:
    nobody = cast(Shelf, cast(Any, None))
    with pytest.raises(Invalid, match="is not a cursor of this list"):
        await api_calls.page(nobody, 1, write_cursor("apiCalls", *place), api_calls.ApiCallFilter())
