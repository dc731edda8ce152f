"""What a browser is told of pages that are not ours: which of them may ask, how, and what they may read.

Origins are compared letter for letter, and there is none for all. Nothing here rests on cookies, so none are allowed along.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.asgi import Scope, header

# What an answer depends on beside its request's body and key; caches on the way keep such answers apart.
VARY: Mapping[str, str] = {"vary": "accept, origin"}
READABLE = "age, etag, ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id"
# Ours, then what clients send to whatever server: Apollo's headers, and those of tracing. A browser asks for `accept` only where
# it is long or holds quotes.
SENDABLE = (
    "accept, authorization, content-type, if-none-match, x-acorn-bill, x-acorn-deadline-ms, x-graphql-event-stream-token, "
    "x-request-id, apollo-require-preflight, apollographql-client-name, apollographql-client-version, "
    "apollographql-library-name, apollographql-library-version, baggage, traceparent, tracestate"
)
KEPT_S = 600


def cors(scope: Scope, allowed: tuple[str, ...]) -> Mapping[str, str]:
    """The headers of any answer: what lets the pages of an allowed origin read it."""
    origin = header(scope, "origin")
    if origin is None or origin not in allowed:
        return VARY
    return {**VARY, "access-control-allow-origin": origin, "access-control-expose-headers": READABLE}


def preflight(scope: Scope, allowed: tuple[str, ...], methods: str) -> Mapping[str, str]:
    """The headers of an answer to OPTIONS: what a page of an allowed origin may send, by which of `methods`."""
    told = {
        "allow": f"{methods}, OPTIONS",
        "vary": "origin, access-control-request-method, access-control-request-headers",
    }
    origin = header(scope, "origin")
    if origin is None or origin not in allowed:
        return told
    return {
        **told,
        "access-control-allow-origin": origin,
        "access-control-allow-methods": methods,
        "access-control-allow-headers": SENDABLE,
        "access-control-max-age": str(KEPT_S),
    }
