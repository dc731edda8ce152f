"""What browsers are told: which pages may ask, what they may read, and what no page may do with ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.asgi import SECURITY, accepted_origin
from gateway.settings import SettingsError, read_settings
from tests.gateway.conftest import Gateway, served, settings_of

DASH = "https://dash.example"
SSE = "text/event-stream"
GRAPHQL = "application/graphql-response+json"


@pytest.fixture(scope="module")
async def open_to(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway that one origin's pages may ask."""
    folder = tmp_path_factory.mktemp("cors")
    async with served(settings_of(new_database(), redis_url, folder, allowed_origins=(DASH,))) as made:
        yield made


def vary(answer: httpx.Response) -> set[str]:
    return {one.strip() for one in answer.headers["vary"].split(",")}


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (DASH, True),
        ("https://DASH.example", False),
        ("http://dash.example", False),
        ("https://dash.example:8443", False),
        ("https://dash.example.evil.example", False),
        ("https://evil-dash.example", False),
        ("https://dash.example/", False),
        ("null", False),
        ("*", False),
        ("", False),
    ],
)
async def test_an_origin_is_allowed_letter_for_letter(open_to: Gateway, origin: str, allowed: bool) -> None:
    answer = await open_to.ask("{ hello }", "read", origin=origin)
    before = await open_to.http.options("/graphql", headers={"origin": origin, "access-control-request-method": "POST"})
    for one in (answer, before):
        assert one.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert "access-control-allow-credentials" not in one.headers
        assert "origin" in vary(one)
    assert (answer.status_code, before.status_code) == (200 if allowed else 403, 204)


@pytest.mark.parametrize(
    ("path", "methods"), [("/graphql", "GET, HEAD, POST"), ("/graphql/stream", "GET, HEAD, POST, PUT, DELETE")]
)
async def test_a_page_learns_before_it_asks_what_it_may_send(open_to: Gateway, path: str, methods: str) -> None:
    before = await open_to.http.options(
        path,
        headers={
            "origin": DASH,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        },
    )
    assert {*before.headers["access-control-allow-methods"].split(", ")} == {*methods.split(", ")}
    assert {*before.headers["allow"].split(", ")} == {*methods.split(", "), "OPTIONS"}
    sendable = before.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "x-acorn-bill", "x-request-id", "x-graphql-event-stream-token"} <= {
        *sendable
    }
    # What clients send that know nothing of us.
    assert {"accept", "apollographql-client-name", "apollographql-client-version"} <= {*sendable}
    assert {"traceparent", "tracestate", "baggage"} <= {*sendable}
    assert before.headers["access-control-max-age"] == "600"
    assert vary(before) == {"origin", "access-control-request-method", "access-control-request-headers"}
    assert before.content == b""


# Whatever is answered, an allowed page can read it, and caches know what it depends on.
ANSWERS: list[tuple[str, dict[str, Any], int]] = [
    ("data", {"json": {"query": "{ hello }"}}, 200),
    ("an event stream", {"json": {"query": "{ hello }"}, "headers": {"accept": SSE}}, 200),
    ("a mistake", {"json": {"query": "{ nothing }"}, "headers": {"accept": GRAPHQL}}, 400),
    ("a mistake in a stream", {"json": {"query": "{ nothing }"}, "headers": {"accept": SSE}}, 200),
    ("no scope", {"json": {"query": "mutation { ship }"}, "headers": {"accept": GRAPHQL}}, 403),
    ("no JSON", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
    ("another type", {"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
    ("no key", {"json": {"query": "{ hello }"}, "headers": {"authorization": ""}}, 401),
    ("a bad key", {"json": {"query": "{ hello }"}, "headers": {"authorization": "Bearer acorn_bad"}}, 401),
    ("a query by GET", {"method": "GET", "params": {"query": "{ hello }"}}, 200),
    ("a mutation by GET", {"method": "GET", "params": {"query": "mutation { ship }"}}, 405),
    ("another method", {"method": "PATCH"}, 405),
]


@pytest.mark.parametrize(("what", "request_", "status"), ANSWERS, ids=[one[0] for one in ANSWERS])
async def test_an_allowed_page_can_read_every_answer(
    open_to: Gateway, what: str, request_: dict[str, Any], status: int
) -> None:
    headers = {
        "authorization": f"Bearer {await open_to.key('read')}",
        "origin": DASH,
        **request_.get("headers", {}),
    }
    rest = {name: value for name, value in request_.items() if name not in ("headers", "method")}
    answer = await open_to.http.request(request_.get("method", "POST"), "/graphql", headers=headers, **rest)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == DASH
    readable = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "retry-after", "ratelimit", "ratelimit-policy", "etag", "age"} <= {*readable}
    assert {"origin", "accept"} <= vary(answer)
    no_page = await open_to.http.request(
        request_.get("method", "POST"), "/graphql", headers={**headers, "origin": open_to.url}, **rest
    )
    assert no_page.status_code == status
    assert "access-control-allow-origin" not in no_page.headers
    assert {"origin", "accept"} <= vary(no_page)


@pytest.mark.parametrize(
    ("method", "path", "loosened"),
    [
        ("GET", "/", {"content-security-policy"}),
        ("GET", "/healthz", set()),
        ("GET", "/readyz", set()),
        ("GET", "/metrics", set()),
        ("GET", "/nothing", set()),
        ("POST", "/healthz", set()),
        ("OPTIONS", "/graphql", set()),
        ("PATCH", "/graphql", set()),
        ("POST", "/graphql", set()),
        ("GET", "/graphql", set()),
        ("POST", "/feeds/none", set()),
        ("PUT", "/graphql/stream", set()),
        ("PATCH", "/graphql/stream", set()),
        ("OPTIONS", "/graphql/stream", set()),
    ],
)
async def test_every_answer_carries_what_protects_it_and_no_cookie(
    open_to: Gateway, method: str, path: str, loosened: set[str]
) -> None:
    answer = await open_to.http.request(method, path)
    for name, value in SECURITY.items():
        if name in loosened:
            assert answer.headers[name] != value
        else:
            assert answer.headers[name] == value, name
    assert "set-cookie" not in answer.headers
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize(
    ("origin", "host", "accepted"),
    [
        (None, "acorn.example", True),
        (DASH, "acorn.example", True),
        ("https://acorn.example", "acorn.example", True),
        ("https://acorn.example:8000", "acorn.example:8000", True),
        ("https://acorn.example", "acorn.example:8000", False),
        ("https://evil.example", "acorn.example", False),
        ("null", "", False),
        ("null", "null", False),
        ("", "", False),
        ("https://", "", False),
        ("acorn.example", "acorn.example", False),
    ],
)
def test_a_page_may_speak_to_us_if_it_is_ours_or_allowed(origin: str | None, host: str, accepted: bool) -> None:
    headers = [(b"host", host.encode())] + ([] if origin is None else [(b"origin", origin.encode())])
    assert accepted_origin({"headers": headers}, (DASH,)) is accepted


@pytest.mark.parametrize(
    "origins", ["*", "null", "https://dash.example/app", "dash.example", "https://*.example", "https://DASH.example"]
)
def test_an_origin_that_no_browser_writes_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origins: str
) -> None:
    monkeypatch.setenv("ACORN_DATABASE_URL", "postgresql://acorn@localhost/acorn")
    monkeypatch.setenv("ACORN_REDIS_URL", "redis://localhost")
    monkeypatch.setenv("ACORN_ALLOWED_ORIGINS", f"https://dash.example, http://[::1]:3000,{origins}")
    with pytest.raises(SettingsError, match="ACORN_ALLOWED_ORIGINS cannot be used"):
        read_settings(env_file=None)
    monkeypatch.setenv("ACORN_ALLOWED_ORIGINS", "https://dash.example, http://[::1]:3000/,chrome-extension://abc")
    assert len(read_settings(env_file=None).allowed_origins) == 3
