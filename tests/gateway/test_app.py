"""What answers beside GraphQL: pages, probes, metrics; and that a stop does not wait for streams."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from websockets.asyncio.client import connect

from domain.channel import Channel, Platform
from domain.ids import ChannelId
from domain.price import Action, Hit
from domain.price_canary import Radius
from gateway import doctor
from gateway.pages import install, page
from gateway.settings import Settings, SettingsError, read_settings
from gateway.standing import open_house
from store import channel, price_guard
from store.session import Store
from tests.gateway.conftest import Gateway, served, settings_of, until
from tests.gateway.test_websocket import PROTOCOL, hear, say, subscribe
from tests.schema.test_settlement import a_file, kept, sale
from tests.store.price_lane import asked, guarded, listed, sold, wish
from workers.bell import ArqBell

HTML = {"accept": "text/html,application/xhtml+xml"}


async def test_probes_answer(gateway: Gateway) -> None:
    alive = await gateway.http.get("/healthz")
    ready = await gateway.http.get("/readyz")
    assert (alive.status_code, alive.text) == (200, "ok\n")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (
            {"database_url": "postgresql://nobody@127.0.0.1:9/none"},
            ["database: no answer", "migrations: cannot be read"],
        ),
        ({"redis_url": "redis://127.0.0.1:9"}, ["redis: no answer"]),
        ({"database_url": "unmigrated"}, ["migrations: the database is at nothing; run `acorn migrate`"]),
    ],
)
async def test_a_process_that_cannot_serve_says_why(
    new_database: Callable[..., str],
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    change: dict[str, str],
    reasons: list[str],
) -> None:
    if change.get("database_url") == "unmigrated":
        change = {"database_url": empty_database(new_database())}
    urls = {"database_url": database_url, "redis_url": redis_url, **change}
    standing = await open_house(settings_of(urls["database_url"], urls["redis_url"], tmp_path))
    try:
        found = await standing.ailments()
    finally:
        await standing.close()
    assert len(found) == len(reasons)
    assert all(one.startswith(reason) for one, reason in zip(found, reasons, strict=True))


async def test_a_gateway_knows_the_channels_that_acorn_toml_names_no_more(store: Store, settings: Settings) -> None:
    old = Channel(ChannelId("old"), Platform.AMAZON, "Old", False, ("DE", "FR"), "UTC", {"DE": "Europe/Berlin"})
    async with store.begin() as tx:
        await channel.remember(tx, [old])
    standing = await open_house(settings)
    try:
        assert (dict(standing.shelf.past), list(standing.shelf.channels)) == ({"old": old}, ["shop"])
    finally:
        await standing.close()


def empty_database(url: str) -> str:
    """The database without a single table."""

    async def run() -> None:
        store = Store(url)
        async with store.begin() as tx:
            await tx.execute(text("drop schema public cascade"))
            await tx.execute(text("create schema public"))
        await store.close()

    # In a thread, whether or not a loop runs in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
    return url


async def test_metrics_count_and_name_nobody(gateway: Gateway) -> None:
    await gateway.ask("{ costly }", "read")
    await gateway.ask("{ hallo }", "read")
    answer = await gateway.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'acorn_http_requests_total{path="/graphql",status="200"}',
        'acorn_operations_total{kind="query",outcome="ok"}',
        'acorn_operations_rejected_total{code="GRAPHQL_VALIDATION_FAILED"}',
        'acorn_upstream_calls_total{channel="shop",operation="inventoryItems"}',
    ):
        [count] = re.findall(rf"^{re.escape(line)} (\d+)", answer.text, re.MULTILINE)
        assert int(count) >= 1
    assert await gateway.key("read") not in answer.text


async def test_metrics_count_lost_rings(settings: Settings, redis: object) -> None:
    async with served(settings.model_copy(update={"arq": True})) as gateway:
        bell = gateway.app.standing.bell
        assert isinstance(bell, ArqBell)
        assert "\nacorn_rings_lost 0.0\n" in (await gateway.http.get("/metrics")).text
        bell.lost += 3
        assert "\nacorn_rings_lost 3.0\n" in (await gateway.http.get("/metrics")).text


async def test_metrics_count_prices_that_guards_keep_back(settings: Settings, redis: object) -> None:
    async with served(settings) as gateway:
        async with gateway.app.standing.house.store.begin() as tx:
            await price_guard.note(tx, [Hit("A_TEST", Action.REFUSE, "low")] * 2)
        told = (await gateway.http.get("/metrics")).text
        assert 'acorn_prices_guarded{action="REFUSE",guard="A_TEST"} 2.0' in told


async def test_metrics_tell_of_prices_that_differ_and_of_canaries(
    settings: Settings, redis: object, store: Store
) -> None:
    async with served(settings) as gateway:
        await guarded(store, radius=Radius(rows=2))
        await listed(store, sold("A", "10"), sold("B", "10"))
        assert "\nacorn_prices_differ 0.0\n" in (await gateway.http.get("/metrics")).text
        await asked(store, wish("A", "5"), wish("B", "5"))
        async with store.begin() as tx:
            await tx.execute(text("update listing_price set differs_since = now() - interval '16 minutes'"))
        told = (await gateway.http.get("/metrics")).text
        assert "\nacorn_prices_differ 1.0\n" in told
        assert '\nacorn_price_canaries{state="watching"} 1.0\n' in told


async def test_without_the_database_metrics_tell_no_number_of_before(
    settings: Settings, redis: object, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = ("acorn_webhook_lag_seconds", "acorn_prices_differ", "acorn_estimates_lag_seconds")
    async with served(settings) as gateway:
        told = (await gateway.http.get("/metrics")).text
        assert all(f"\n{name} 0.0\n" in told for name in numbers)
        away = Store("postgresql://nobody@127.0.0.1:9/none")
        monkeypatch.setattr(gateway.app.standing.house, "store", away)
        told = (await gateway.http.get("/metrics")).text
        assert all(f"\n{name} NaN\n" in told for name in numbers)
        assert "acorn_channel_paused{" not in told
        monkeypatch.undo()
        told = (await gateway.http.get("/metrics")).text
        assert all(f"\n{name} 0.0\n" in told for name in numbers)
        await away.close()


async def test_metrics_and_the_doctor_tell_of_money_that_is_not_tied_out(
    settings: Settings, redis: object, store: Store
) -> None:
    async with served(settings) as gateway:
        assert "\nacorn_residual_lines{" not in (await gateway.http.get("/metrics")).text
        assert await doctor._money(gateway.app.standing.house) == []
        await kept(store, [sale("19.90"), sale("-1.00")])
        await a_file(store, b"x", "it has no total")
        told = (await gateway.http.get("/metrics")).text
        assert '\nacorn_residual_lines{cause="order_unknown",channel="shop"} 2.0\n' in told
        assert '\nacorn_residual_amount{cause="order_unknown",channel="shop",currency="EUR"} 18.9\n' in told
        assert '\nacorn_residual_oldest_seconds{channel="shop"} ' in told
        assert '\nacorn_settlement_files_refused{channel="amazon-eu"} 1.0\n' in told
        found = {one.what: one.found for one in await doctor._money(gateway.app.standing.house)}
        assert found["settlement files"] == "1 refused. The newest: settlement.txt of amazon-eu: it has no total"
        assert found["settlements"].startswith("2 lines are not tied out, the oldest since ")


async def test_elsewhere_there_is_nothing(gateway: Gateway) -> None:
    assert (await gateway.http.get("/graphql/schema")).status_code == 404
    assert (await gateway.http.post("/healthz")).status_code == 405
    for name in (
        "../settings.py",
        "..%2fsettings.py",
        "install.py",
        "page.py",
        "nothing.js",
        "graphiql%2f..%2fboot.js",
    ):
        assert (await gateway.http.get(page.asset_path(name))).status_code == 404


async def test_the_landing_page_leads_to_graphql(gateway: Gateway) -> None:
    answer = await gateway.http.get("/", headers=HTML)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="/graphql"' in answer.text
    no_outside(answer.text, answer.headers["content-security-policy"])


def no_outside(html: str, policy: str) -> None:
    """No page of ours asks anybody else: by its own links, and by what its policy lets a browser do."""
    assert "//" not in html.replace("/* ", "")
    links = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert links
    assert all(link.startswith("/") or link == "data:," for link in links)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'self'"
    for name, sources in rules.items():
        assert set(sources.split()) <= {"'self'", "'none'", "data:"} | (
            {"'unsafe-inline'"} if name == "style-src" else set()
        )


@pytest.fixture
def with_graphiql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed."""
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    monkeypatch.setattr(install, "MARK", tmp_path / "VERSION")
    (tmp_path / "VERSION").write_text(install.VERSION)
    (tmp_path / "graphiql.js").write_text("let graphiql")


@pytest.mark.usefixtures("with_graphiql")
async def test_graphiql_asks_no_outside_address(gateway: Gateway) -> None:
    answer = await gateway.http.get("/graphql", headers=HTML)
    assert answer.status_code == 200
    no_outside(answer.text, answer.headers["content-security-policy"])
    [options] = re.findall(r'<script type="application/json" id="options">(.*?)</script>', answer.text)
    told = json.loads(options)
    assert told["endpoint"] == "/graphql"
    assert "products(first: 5)" in told["query"]
    assert told["method"] == "POST"
    assert told["query"].startswith("# Put your key into the Headers box below,\n")
    assert max(len(line) for line in told["query"].splitlines()) <= 44
    assert json.loads(told["headers"]) == {"Authorization": "Bearer acorn_…"}
    for path in re.findall(r'src="([^"]*)"', answer.text):
        script = await gateway.http.get(path)
        assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert "immutable" in script.headers["cache-control"]


@pytest.mark.usefixtures("with_graphiql")
def test_graphiql_with_a_key_asks_for_none() -> None:
    [options] = re.findall(r'id="options">(.*?)</script>', page.graphiql("demo-operator").decode())
    told = json.loads(options)
    assert told["headers"] == '{"Authorization": "Bearer demo-operator"}'
    assert told["query"].startswith("# Press Ctrl-Enter. The Headers box below\n# holds a key already.\n")


async def test_without_graphiql_the_page_says_how_to_get_it(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "MARK", tmp_path / "nowhere")
    answer = await gateway.http.get("/graphql", headers=HTML)
    assert answer.status_code == 200
    assert "python -m gateway.pages.install" in answer.text


async def test_graphiql_as_installed_holds_what_its_page_loads() -> None:
    if not install.installed():
        pytest.skip("GraphiQL is not installed: python -m gateway.pages.install")
    for name in ("graphiql.js", "graphiql.css", "editor.js", "json.js", "graphql.js"):
        assert page.asset(page.asset_path(name)) is not None
    css = (install.FOLDER / "graphiql.css").read_text(encoding="utf-8")
    assert re.findall(r"url\((?!\"?data:)", css) == []
    assert "@import" not in css


async def test_a_stop_does_not_wait_for_a_hundred_streams(fresh: Gateway) -> None:
    """Fifty streams and fifty sockets are open; each is told, and the server is gone within its limit."""
    headers = await fresh.headers("read", accept="text/event-stream")
    endings: list[str] = []

    async def stream() -> None:
        body = {"query": "subscription { quiet }"}
        async with fresh.http.stream("POST", "/graphql", json=body, headers=headers, timeout=30) as answer:
            endings.append((await answer.aread()).decode())

    async def socket() -> None:
        async with connect(fresh.ws_url, subprotocols=[PROTOCOL]) as one:
            await say(one, type="connection_init", payload={"Authorization": headers["authorization"]})
            await hear(one)
            await subscribe(one, "1", "subscription { quiet }")
            last = await hear(one)
            await one.wait_closed()
            endings.append(f"{last['type']} {last['payload'][0]['extensions']['code']} {one.close_code}")

    clients = [asyncio.create_task(work()) for work in [stream, socket] for _ in range(50)]
    streams, sockets = fresh.app._streams, fresh.app._sockets
    await until(lambda: len(streams._open) == 50 and sum(len(one._operations) for one in sockets._open) == 50)
    began = time.monotonic()
    fresh.server.should_exit = True
    async with asyncio.timeout(30):
        await asyncio.gather(*clients)
    await until(lambda: not fresh.server.server_state.connections)
    assert time.monotonic() - began < 15  # of 20
    # Nobody is told `complete`: there is something to resume.
    said = "The server is stopping. Subscribe again with `after` set to the last cursor you have seen."
    error = json.dumps({"errors": [{"message": said, "extensions": {"code": "RESUME"}}]}, separators=(",", ":"))
    assert sorted(endings) == ["error RESUME 1001"] * 50 + [f"event: next\ndata: {error}\n\n"] * 50


async def test_a_thousand_subscriptions_in_turn_leave_nothing_behind(fresh: Gateway) -> None:
    """On one connection, a hundred at a time. None of them is told of an error."""
    hub = fresh.app.standing.hub
    async with connect(fresh.ws_url, subprotocols=[PROTOCOL]) as one:
        await say(one, type="connection_init", payload={"Authorization": f"Bearer {await fresh.key('read')}"})
        await hear(one)
        before = len(asyncio.all_tasks())
        for round in range(10):
            for number in range(100):
                query = 'subscription { follow(subject: "A", after: "0") { cursor } }'
                await subscribe(one, f"{round}-{number}", query)
            await until(lambda: hub.subscriber_count() == 100)
            # What is told before an answer to a ping was told of the subscriptions: nothing.
            await say(one, type="ping")
            assert await hear(one) == {"type": "pong"}
            for number in range(100):
                await say(one, type="complete", id=f"{round}-{number}")
            await until(lambda: hub.subscriber_count() == 0)
            await say(one, type="ping")
            assert await hear(one) == {"type": "pong"}
        await until(lambda: len(asyncio.all_tasks()) <= before)


def test_settings_name_what_is_missing_and_never_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ACORN_"):
            monkeypatch.delenv(name)
    with pytest.raises(SettingsError) as caught:
        read_settings(env_file=None)
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == ["ACORN_DATABASE_URL", "ACORN_REDIS_URL"]
    monkeypatch.setenv("ACORN_DATABASE_URL", "postgresql://me:hunter2@db/acorn")
    monkeypatch.setenv("ACORN_REDIS_URL", "redis://r")
    settings = read_settings(env_file=None)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
    monkeypatch.setenv("ACORN_PORT", "hunter2")
    with pytest.raises(SettingsError) as caught:
        read_settings(env_file=None)
    assert str(caught.value) == "ACORN_PORT must be a number from 1 to 65535, such as 8000."
    for name, url, wanted in (
        ("ACORN_DATABASE_URL", "mysql://me:hunter2@db/acorn", "PostgreSQL URL such as postgresql://acorn:secret@"),
        ("ACORN_DATABASE_URL", "postgresql://me:hunter2@db:port/acorn", "PostgreSQL URL such as"),
        ("ACORN_DATABASE_URL", "hunter2", "PostgreSQL URL such as"),
        ("ACORN_REDIS_URL", "http://:hunter2@db", "Redis URL such as redis://localhost:6379/0"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv("ACORN_PORT", "")
            patch.setenv(name, url)
            with pytest.raises(SettingsError) as caught:
                read_settings(env_file=None)
        assert str(caught.value).startswith(f"{name} cannot be used: it must be a {wanted}")
        assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("ACORN_PORT", "")
    monkeypatch.setenv("ACORN_ALLOWED_ORIGINS", "https://a.example/, https://b.example")
    settings = read_settings(env_file=None)
    assert (settings.port, settings.allowed_origins) == (8000, ("https://a.example", "https://b.example"))
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 9


def test_an_env_file_gives_way_to_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("ACORN_DATABASE_URL=postgresql://file\nACORN_REDIS_URL=redis://file\nACORN_PORT=9000\nOTHER=1\n")
    monkeypatch.setenv("ACORN_DATABASE_URL", "postgresql://environment")
    monkeypatch.delenv("ACORN_REDIS_URL", raising=False)
    settings: Settings = read_settings(env_file=file)
    assert settings.database_url.get_secret_value() == "postgresql://environment"
    assert (settings.redis_url.get_secret_value(), settings.port) == ("redis://file", 9000)
