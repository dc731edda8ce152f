"""What a shop says of its rate limit, in every form that is met, and what our bucket makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.rest.limits import Limit, limit_of

NEW = {"RateLimit-Policy": '"default";q=100;w=60', "RateLimit": '"default";r=42;t=17'}


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        (NEW, Limit(100, 60, 42, 17)),
        ({"RateLimit": '"default";r=42;t=17'}, Limit(None, None, 42, 17)),
        ({"RateLimit-Policy": '"default";q=100;w=60'}, Limit(100, 60)),
        (
            {
                "RateLimit-Policy": '"a, b;c";q=100;w=60;pk=:cHdk:, "x";q=10;w=1',
                "RateLimit": '"x";r=1;t=1, "a, b;c";r=99;t=60',
            },
            Limit(10, 1, 1, 1),
        ),
        ({"RateLimit": "limit=100, remaining=42, reset=17"}, Limit(100, None, 42, 17)),
        (
            {"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "42", "RateLimit-Reset": "17"},
            Limit(100, 60, 42, 17),
        ),
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "42"}, Limit(100, None, 42)),
    ],
)
def test_every_form_is_read(headers: dict[str, str], limit: Limit) -> None:
    assert limit_of(headers) == limit


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"RateLimit": ""},
        {"RateLimit": "soon"},
        {"RateLimit": '"default";r=-4'},
        {"RateLimit": '"default";r=nan;t=inf'},
    ],
)
def test_what_says_nothing_changes_nothing(headers: dict[str, str]) -> None:
    assert limit_of(headers) is None


def test_a_policy_that_is_broken_leaves_what_remains() -> None:
    assert limit_of({**NEW, "RateLimit-Policy": '"default";;q=100'}) == Limit(None, None, 42, 17)


@given(
    quota=st.integers(1, 10_000),
    window=st.integers(1, 3600),
    used=st.integers(0, 10_000),
    into=st.integers(0, 3600),
)
def test_what_our_bucket_holds_and_gains_until_the_reset_never_passes_what_remains(
    quota: int, window: int, used: int, into: int
) -> None:
    reset = max(0, window - into)
    limit = Limit(quota, window, max(0, quota - used), reset)
    assert limit.tokens is not None
    assert limit.rate is not None
    assert limit.tokens + limit.rate * reset <= max(0, quota - used) + 1e-6


def test_a_full_bucket_may_be_spent_at_once() -> None:
    assert Limit(100, 60, 100, 0).tokens == 100
