"""The command line: it reads well, says what is wrong, and its exit code agrees."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from adapters.port import Checked, Warned
from adapters.shopify.platform import ShopifyPort
from domain.errors import Transient, Unauthorized
from domain.ids import ChannelId, RuleId
from domain.place import ChannelPlace
from domain.product import Rejected
from domain.rule import FbaShare, Rule, SafetyStock
from sandbox.__main__ import app as stand_ins
from schema.printed import contract
from schema.root import schema
from schema.scopes import ALL
from store import migrate, quarantine, rule
from store.session import Store
from tests.gateway.conftest import CHANNELS, Acorn, plain
from tests.gateway.test_app import empty_database


def test_help_names_every_command(acorn: Acorn) -> None:
    told = plain(acorn("--help"))
    for command in ("demo", "serve", "work", "migrate", "sandbox", "keys", "schema", "stock", "doctor"):
        assert re.search(rf"[ │]{command} +[A-Z]", told), command


def test_the_schema_is_printed(acorn: Acorn) -> None:
    assert acorn("schema", "print").output == contract(schema._schema) + "\n"
    assert acorn("schema", "print", "--federation").output == schema.as_str() + "\n"


def test_keys_are_made_listed_and_revoked(acorn: Acorn) -> None:
    made = acorn("keys", "create", "storefront", "--scope", "stock:read", "--scope", "catalog:read", "--days", "30")
    assert made.exit_code == 0
    assert re.fullmatch(r"acorn_[A-Za-z0-9_-]{43}\n", made.stdout)
    [id] = re.findall(
        r"^(key_[0-9a-f]{12}), storefront: catalog:read, stock:read, valid until 2", made.stderr, re.MULTILINE
    )
    listed = plain(acorn("keys", "list"))
    assert re.search(
        rf"^{id}  active   storefront\n    created 2\S+ \S+, expires 2\S+ \S+: catalog:read stock:read$", listed, re.M
    )
    assert max(len(line) for line in listed.splitlines()) <= 80
    assert made.stdout.strip() not in listed
    assert acorn("keys", "revoke", id).output == f"{id} is revoked.\n"
    assert f"{id}  revoked  storefront\n" in plain(acorn("keys", "list"))
    again = acorn("keys", "revoke", id)
    assert (again.exit_code, "There is no key" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bot"], "Give at least one --scope. The scopes are admin, apicalls:read,"),
        (["bot", "--scope", "stock:reed"], "There is no scope 'stock:reed'. The scopes are admin,"),
        ([" ", "--scope", "stock:read"], "A key's name must be 1 to 100 printable characters."),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(acorn: Acorn, arguments: list[str], said: str) -> None:
    refused = acorn("keys", "create", *arguments)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert said in refused.stderr
    assert "key_" not in acorn("keys", "list").output


def test_migrate_says_what_it_did(
    acorn: Acorn, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert acorn("migrate").output == f"The database is at {migrate.head()}, the newest. Nothing to do.\n"
    monkeypatch.setenv("ACORN_DATABASE_URL", empty_database(new_database()))
    for command in ("serve", "work"):
        refused = acorn(command)
        assert refused.exit_code == 1
        said = f"The database is at nothing, this version needs {migrate.head()}. Run `acorn migrate`."
        assert refused.stderr.strip() == said
    assert acorn("migrate").output == f"The database went from nothing to {migrate.head()}.\n"


def test_serve_and_work_say_what_they_lack(acorn: Acorn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = acorn("serve", "--port", port)
        assert refused.exit_code == 1
        assert f"Cannot listen on 127.0.0.1:{port}: Address already in use. Set ACORN_PORT" in refused.stderr
    (tmp_path / "acorn.toml").write_text(CHANNELS.replace("shopify", "shopfy"), encoding="utf-8")
    for command in ("serve", "work"):
        refused = acorn(command)
        assert (refused.exit_code, "acorn.toml, line 4: `platform` must say" in refused.stderr) == (1, True)
    monkeypatch.setenv("ACORN_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert "The database does not answer" in acorn("migrate").stderr
    monkeypatch.delenv("ACORN_DATABASE_URL")
    for arguments in (["serve"], ["work"], ["migrate"], ["keys", "list"]):
        refused = acorn(*arguments)
        assert (refused.exit_code, "ACORN_DATABASE_URL is not set" in refused.stderr) == (1, True)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_it_is_told_to_stop(
    acorn: Acorn, tmp_path: Path, stop: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACORN_DOCUMENT", "trusted")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "said").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port)], cwd=tmp_path, stdout=out, stderr=out
        )
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=60)
            if answer.status_code == 200:
                break
        except httpx.ConnectError:
            assert process.poll() is None, (tmp_path / "said").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.json() == {"ready": True, "reasons": []}
    process.send_signal(stop)
    assert process.wait(60) in (0, -stop)
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    told = {one["event"]: one for one in map(json.loads, said.splitlines())}
    assert told["server.listening"]["address"] == f"http://127.0.0.1:{port}"
    assert told["settings.unknown"]["setting"] == "ACORN_DOCUMENT"


def test_the_version_is_told(acorn: Acorn) -> None:
    told = acorn("--version")
    assert (told.exit_code, told.output) == (0, f"acorn {version('acorn-gateway')}\n")


def test_a_key_may_have_a_budget_of_its_own(acorn: Acorn) -> None:
    budget = ("--points-per-minute", "5000", "--calls-per-minute", "20")
    assert acorn("keys", "create", "storefront", "--scope", "stock:read", *budget).exit_code == 0
    assert "a minute: 5000 points, 20 calls" in plain(acorn("keys", "list"))
    assert acorn("keys", "create", "b", "--scope", "stock:read", "--calls-per-minute", "0").exit_code == 2


def test_help_of_keys_names_the_scopes(acorn: Acorn) -> None:
    told = re.sub(r"[\s│]+", " ", plain(acorn("keys", "create", "--help")))
    assert ", ".join(sorted(ALL)) in told


def test_a_port_that_is_none_is_told_in_plain_words(acorn: Acorn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACORN_PORT", "abc")
    for command in ("serve", "demo"):
        refused = acorn(command)
        said = "ACORN_PORT must be a number from 1 to 65535, such as 8000."
        assert (refused.exit_code, refused.stderr.strip()) == (1, said)


def test_a_sandbox_must_be_named(acorn: Acorn) -> None:
    helped = acorn("sandbox", "--help")
    assert (helped.exit_code, "acorn sandbox amazon --port 8010" in plain(helped)) == (0, True)
    refused = acorn("sandbox")
    assert (refused.exit_code, "acorn sandbox amazon" in refused.stderr) == (1, True)


def test_every_stand_in_is_started_by_its_name(acorn: Acorn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the stand-ins' own line are the ones that are taken; a new one was once refused."""
    begun: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, command: begun.append(command[2:]))
    names = sorted(str(one.name or one.callback.__name__) for one in stand_ins.registered_commands if one.callback)
    assert "carrier" in names
    for name in names:
        acorn("sandbox", name, "--port", "8050")
    assert begun == [["sandbox", name, "--port", "8050"] for name in names]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the shop says to `check`: what was found or an error."""
    says: list[Any] = [Checked("Acorn shop answers, with all scopes.")]

    async def check(self: ShopifyPort, ask: object) -> Checked:
        if isinstance(says[0], Checked):
            return says[0]
        raise says[0]

    async def places(self: ShopifyPort, ask: object) -> list[ChannelPlace]:
        return []

    monkeypatch.setattr(ShopifyPort, "check", check)
    monkeypatch.setattr(ShopifyPort, "places", places)
    return says


def test_doctor_finds_a_sound_house_sound(acorn: Acorn, shop: list[Any]) -> None:
    told = acorn("doctor")
    assert told.exit_code == 0
    lines = plain(told).splitlines()
    assert "  ok  settings: complete" in lines
    assert "  ok  channels: acorn.toml names 1: shop" in lines
    assert "  ok  database: answers" in lines
    assert "  ok  redis: answers" in lines
    assert f"  ok  migrations: at {migrate.head()}, the newest" in lines
    assert "note  keys: there is no API key" in lines
    assert "note  workers: none has shown a sign of life within 30 s" in lines
    assert "  ok  channel shop: Acorn shop answers, with all scopes." in lines


def test_doctor_names_what_is_no_setting(acorn: Acorn, shop: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "ACORN_KEY_POINTS_PER_MINUTEE=3\nACORN_TOKEN_OF_SHOP=s3cret\nACORN_NO_SUCH_THING=\n", encoding="utf-8"
    )
    named = CHANNELS.replace("shpat_test", "env:ACORN_TOKEN_OF_SHOP")
    Path("acorn.toml").write_text(named, encoding="utf-8")
    monkeypatch.setenv("ACORN_DOCUMENT", "trusted")
    monkeypatch.setenv("ACORN_CONTRACTS", "/contracts")
    looked = acorn("doctor")
    lines = plain(looked).splitlines()
    assert looked.exit_code == 0
    assert [line for line in lines if "settings:" in line] == [
        "note  settings: ACORN_DOCUMENT is no setting of ours, and nobody reads it",
        "note  settings: ACORN_KEY_POINTS_PER_MINUTEE is no setting of ours, and nobody reads it",
    ]
    assert "      → Did you mean ACORN_DOCUMENTS?" in lines
    assert "      → Did you mean ACORN_KEY_POINTS_PER_MINUTE?" in lines


@pytest.mark.parametrize(
    ("problem", "do"),
    [
        (Unauthorized("The shop refuses the token."), "Check this channel's credentials"),
        (Transient("acorn.myshopify.com cannot be reached."), "Check the address, the network"),
    ],
)
def test_doctor_says_what_a_channel_wants(acorn: Acorn, shop: list[Any], problem: Exception, do: str) -> None:
    shop[0] = problem
    told = acorn("doctor")
    assert told.exit_code == 1
    assert f"FAIL  channel shop: {problem}" in plain(told)
    assert f"→ {do}" in plain(told)


def test_doctor_does_not_call_a_channel_well_that_is_warned_of(acorn: Acorn, shop: list[Any]) -> None:
    warnings = (Warned("It is closed in IT.", "Take it out."), Warned("It is asleep in FR.", "Wake it."))
    shop[0] = Checked("It sells in DE.", warnings)
    told = acorn("doctor")
    assert told.exit_code == 0
    lines = plain(told).splitlines()
    first = lines.index("note  channel shop: It sells in DE.")
    assert lines[first + 1 : first + 5] == [
        "note  channel shop: It is closed in IT.",
        "      → Take it out.",
        "note  channel shop: It is asleep in FR.",
        "      → Wake it.",
    ]
    assert "  ok  channel shop" not in plain(told)


def test_doctor_tells_what_is_in_quarantine(acorn: Acorn, shop: list[Any], database_url: str) -> None:
    async def keep() -> None:
        store = Store(database_url)
        async with store.begin() as tx:
            await quarantine.keep(
                tx,
                [
                    Rejected(ChannelId("shop"), "listing", f"gid {number}", "The SKU is empty.", "{}")
                    for number in range(5)
                ],
            )
        await store.close()

    assert "  ok  quarantine: empty" in plain(acorn("doctor")).splitlines()
    asyncio.run(keep())
    [line] = [line for line in plain(acorn("doctor")).splitlines() if "quarantine" in line]
    assert line.startswith("note  quarantine: 5 kept out. The newest: listing gid ")
    assert line.count("of shop: The SKU is empty.") == 3


def test_doctor_tells_of_units_in_fba_that_a_shop_may_sell_and_nothing_sends(
    acorn: Acorn, shop: list[Any], database_url: str
) -> None:
    async def keep(*rules: Rule) -> None:
        store = Store(database_url)
        async with store.begin() as tx:
            for one in rules:
                await rule.save(tx, one, "test")
        await store.close()

    before = datetime.now(UTC) - timedelta(days=1)
    over = Rule(RuleId(""), "over", FbaShare(Decimal(50)), ends_at=before)
    asyncio.run(keep(over, Rule(RuleId(""), "two", SafetyStock(2))))
    assert "FBA" not in plain(acorn("doctor"))
    asyncio.run(keep(Rule(RuleId(""), "half", FbaShare(Decimal(50)))))
    lines = plain(acorn("doctor")).splitlines()
    first = lines.index("note  channel shop: may sell units in FBA (half), and nothing sends them by itself")
    assert lines[first + 1].startswith("      → Name a pool in [channels.ship_from_fba], or call shipFromFba")


def test_a_database_of_another_kind_is_told_by_every_command(acorn: Acorn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACORN_DATABASE_URL", "mysql://me:hunter2@localhost/acorn")
    said = "ACORN_DATABASE_URL cannot be used: it must be a PostgreSQL URL such as postgresql://"
    for arguments in (["serve"], ["work"], ["migrate"], ["keys", "list"], ["keys", "create", "a", "--scope", "admin"]):
        refused = acorn(*arguments)
        assert (refused.exit_code, said in refused.stderr) == (1, True), arguments
    told = acorn("doctor")
    assert (told.exit_code, f"FAIL  settings: {said}" in plain(told)) == (1, True)
    assert "hunter2" not in told.output


def test_doctor_says_what_is_away(acorn: Acorn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACORN_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("ACORN_REDIS_URL", "redis://127.0.0.1:9")
    told = acorn("doctor")
    assert told.exit_code == 1
    assert "FAIL  database: no answer" in plain(told)
    assert "FAIL  redis: no answer" in plain(told)


def test_a_database_that_nobody_has_made_is_told_in_a_sentence(
    acorn: Acorn, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = make_url(database_url).set(database="nobody_made_this").render_as_string(hide_password=False)
    monkeypatch.setenv("ACORN_DATABASE_URL", nowhere)
    for command in (["doctor"], ["migrate"], ["keys", "list"]):
        told = acorn(*command)
        assert (told.exit_code, 'database "nobody_made_this" does not exist' in plain(told)) == (1, True)


def test_doctor_sends_to_migrate_and_to_the_file(
    acorn: Acorn, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACORN_DATABASE_URL", empty_database(new_database()))
    assert "→ Run `acorn migrate`." in plain(acorn("doctor"))
    (tmp_path / "acorn.toml").unlink()
    told = acorn("doctor")
    assert (told.exit_code, "Copy acorn.example.toml" in plain(told)) == (1, True)
    monkeypatch.delenv("ACORN_DATABASE_URL")
    told = acorn("doctor")
    assert (told.exit_code, "FAIL  settings: ACORN_DATABASE_URL is not set" in plain(told)) == (1, True)
