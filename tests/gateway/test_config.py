"""acorn.toml: what it means, and that a mistake is told with its line and its mend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.amazon.platform import AmazonPort
from domain.channel import LocationKind, StreamName
from domain.ids import ChannelId, ChannelSku
from gateway.config import Config, ConfigError, read_config
from gateway.lines import Lines
from gateway.settings import Settings
from gateway.wiring import build_house

EXAMPLE = Path(__file__).parents[2] / "acorn.example.toml"
NAMES = sorted(set(re.findall(r'= "env:([A-Z0-9_]+)"', EXAMPLE.read_text(encoding="utf-8"))))

SOUND = """\
[[channels]]
id = "amazon-eu"
platform = "amazon"
name = "Amazon EU"
region = "eu"
marketplaces = ["DE", "FR"]
seller_id = "A1"
client_id = "client"
client_secret = "env:SECRET"
refresh_token = "env:TOKEN"

[[channels]]
id = "shop"
platform = "shopify"
name = "Shop"
shop = "acorn.myshopify.com"
access_token = "shpat_1"

[[locations]]
code = "BER"
name = "Berlin"
keeper = "shop"
external_id = "gid://shopify/Location/1"
"""
ENVIRON = {"SECRET": "s3cret", "TOKEN": "Atzr|1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, text: str, environ: Mapping[str, str] = ENVIRON) -> Config:
    path = folder / "acorn.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, environ)


def problem(folder: Path, text: str, environ: Mapping[str, str] = ENVIRON) -> str:
    """What is said of a file, without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, environ)
    return str(caught.value).replace(f"{folder}/", "")


def test_the_rehearsal_of_the_example_is_sound_once_it_is_wanted(folder: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    rehearsal = text[text.index("# [[channels]]") : text.index("# ── Storefronts")]
    config = read(folder, re.sub(r"^# ", "", rehearsal, flags=re.MULTILINE))
    assert [one.id for one in config.file.channels] == ["amazon-rehearsal"]


def test_the_example_of_settings_names_all_that_the_example_of_channels_asks_for() -> None:
    text = (EXAMPLE.parent / ".env.example").read_text(encoding="utf-8")
    named = re.findall(r"^([A-Z0-9_]+)=", text, re.MULTILINE)
    assert len(NAMES) == 9
    assert sorted(named) == sorted([*NAMES, "ACORN_DATABASE_URL", "ACORN_REDIS_URL", "ACORN_DATABASE_PASSWORD"])
    assert "letters and digits only" in text


async def test_the_example_builds_a_house(settings: Settings) -> None:
    config = read_config(EXAMPLE, dict.fromkeys(NAMES, "gid://shopify/Location/2"))
    house = await build_house(settings, config)
    try:
        assert list(house.channels) == [
            "amazon-us",
            "amazon-eu",
            "amazon-us-outlet",
            "shop",
            "shop-b2b",
        ]
        assert [place.code for place in house.locations] == [
            "BER",
            "RNO",
            "fba-us",
            "fba-ca",
            "fba-eu",
            "fba-uk",
            "fba-us-outlet",
        ]
        pool = next(place for place in house.locations if place.code == "fba-eu")
        assert (pool.kind, pool.keeper, pool.external_id, pool.marketplaces) == (
            LocationKind.FBA,
            "amazon-eu",
            "DE",
            ("DE", "FR"),
        )
        assert house.sku_map.ours(ChannelId("amazon-us"), ChannelSku("AMZ-TEE-NAVY-M")) == "TEE-00001-NAVY-M"
        assert house.sku_map.ours(ChannelId("shop"), ChannelSku("AMZ-TEE-NAVY-M")) == "AMZ-TEE-NAVY-M"
        assert house.intervals == {
            (ChannelId("amazon-us"), StreamName.ORDERS): timedelta(minutes=15),
            (ChannelId("amazon-us"), StreamName.STOCK): timedelta(minutes=15),
            (ChannelId("amazon-us"), StreamName.LISTINGS): timedelta(hours=6),
        }
        assert (house.safety_stock, house.stock_max_age) == (0, timedelta(minutes=5))
        assert isinstance(house.ports[ChannelId("amazon-us")], AmazonPort)
        assert house.ports[ChannelId("amazon-eu")].visibility_lag_s == 120
    finally:
        await house.close()


def test_secrets_come_from_the_environment_and_never_print(folder: Path) -> None:
    config = read(folder, SOUND)
    amazon = config.file.channels[0]
    assert amazon.client_secret is not None
    assert amazon.client_secret.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(config)
    assert "s3cret" not in str(config.file.model_dump())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'region = "eu"',
            'regoin = "eu"',
            "acorn.toml, line 5: `regoin` is no key of ours. Did you mean `region`? acorn",
        ),
        ('region = "eu"', "", "acorn.toml, line 1: `region` is missing here. Add a line `region = …`."),
        ('region = "eu"', 'region = "xx"', "acorn.toml, line 5: `region`: Input should be 'na', 'eu' or 'fe'."),
        (SOUND, "", "acorn.toml, line 1: there is no channel here. Add a table `[[channels]]`. acorn"),
        ('["DE", "FR"]', "[]", "acorn.toml, line 6: `marketplaces` is empty. Name at least one."),
        (SOUND, f"{SOUND}[[channels", "Expected ']]' at the end of an array declaration (at line 24, the last)."),
        (
            'refresh_token = "env:TOKEN"',
            'refresh_token = "env:TOKEN"\n[channels.streams]\norders = "PT2M59S"',
            "acorn.toml, line 12: Amazon lets an account search its orders every three minutes; write PT15M, or PT3M",
        ),
        ('platform = "amazon"', 'platform = "ebay"', "acorn.toml, line 3: `platform` must say"),
        ('platform = "amazon"', "", "acorn.toml, line 1: `platform` must say"),
        ('id = "amazon-eu"', 'id = "Amazon EU"', "acorn.toml, line 2: `id` must match ^[a-z0-9]"),
        ('id = "amazon-eu"', 'id = "shop"', "acorn.toml, line 13: another channel is called shop too"),
        ('["DE", "FR"]', '["DE", "Germany"]', "acorn.toml, line 6: `marketplaces` must match ^[A-Z]{2}$"),
        ('["DE", "FR"]', '["DE", "US"]', "acorn.toml, line 1: US is not sold from the region eu but from na."),
        ('"env:TOKEN"', '"env:NOWHERE"', "acorn.toml, line 10: `refresh_token`: NOWHERE is not set; put it into"),
        ('"acorn.myshopify.com"', '"acorn.com"', "acorn.toml, line 12: 'acorn.com' is not a shop's address"),
        ('keeper = "shop"', 'keeper = "amazon-eu"', "acorn.toml, line 22: `keeper` must be the id of a storefront"),
        (
            'code = "BER"',
            'code = "fba-de"',
            "acorn.toml, line 1: the pool fba-de of amazon-eu has a code that shop uses",
        ),
        ('code = "BER"', 'code = "BER"\nkind = "FBA"', "acorn.toml, line 21: `kind`: Input should be 'WAREHOUSE'"),
        ('name = "Berlin"', "name = Berlin", "acorn.toml: this is not TOML: Invalid value (at line 21, column 8)"),
        ("[[locations]]", '[sku_map.nowhere]\n"A" = "B"\n[[locations]]', "line 19: no channel is called nowhere"),
        ("[[locations]]", '[stock]\nmax_age = "5 minutes"\n[[locations]]', "line 20: `max_age`: write a duration"),
        (
            "[[locations]]",
            "[stock]\nsafety_stock = -1\n[[locations]]",
            "line 20: `safety_stock`: Input should be greater",
        ),
        ("[[locations]]", "[colors]\nsky = 1\n[[locations]]", "line 19: `colors` is no key of ours. Remove it."),
    ],
)
async def test_a_mistake_is_told_with_its_line_and_its_mend(
    folder: Path, settings: Settings, old: str, new: str, said: str
) -> None:
    assert old in SOUND
    text = SOUND.replace(old, new, 1)
    try:
        # What only the platform can know is found when its port is built.
        config = read(folder, text)
        with pytest.raises(ConfigError) as caught:
            await build_house(settings, config)
        found = str(caught.value).replace(f"{folder}/", "")
    except ConfigError as problem:
        found = str(problem).replace(f"{folder}/", "")
    assert said in found
    assert "s3cret" not in found


INNER = """
[[channels.pools]]
code = "p"
name = "P"
marketplaces = ["DE"]
[[channels.pools]]
code = "q"
name = "Q"
marketplaces = ["ES"]
[channels.streams]
orders = "PT5M"
listigns = "PT6H"

[[channels]]
id = "shop"
"""


def test_keys_of_inner_tables_have_lines_too(folder: Path) -> None:
    text = SOUND.replace('\n[[channels]]\nid = "shop"\n', INNER)
    assert problem(folder, text).startswith(
        "acorn.toml, line 22: `listigns` is no key of ours. Did you mean `listings`?"
    )
    text = text.replace("listigns", "listings")
    expected = "acorn.toml, line 19: ES is not among the marketplaces of amazon-eu; add it there, or remove it here."
    assert problem(folder, text) == expected
    assert "line 19: DE stands in two pools" in problem(folder, text.replace("ES", "DE"))


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    told = problem(folder, SOUND.replace('seller_id = "A1"\n', "").replace('name = "Berlin"', "nam = 1"))
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "acorn.toml, line 1",
        "acorn.toml, line 20",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('region = "eu"', 'regoin = "eu"', 5),
        ('["DE", "FR"]', '["USA"]', 6),
        ('[[locations]]\ncode = "BER"', '[[locations]]\ncod = "BER"', 20),
    ],
)
def test_one_mistake_is_told_once(folder: Path, old: str, new: str, line: int) -> None:
    assert old in SOUND
    [told] = problem(folder, SOUND.replace(old, new)).splitlines()
    assert told.startswith(f"acorn.toml, line {line}: ")


def test_orders_of_a_shop_may_be_read_at_any_pace(folder: Path) -> None:
    config = read(folder, f'{SOUND.partition("[[locations]]")[0]}[channels.streams]\norders = "PT1M"\n')
    assert config.intervals == {(ChannelId("shop"), StreamName.ORDERS): timedelta(minutes=1)}


def test_a_missing_file_says_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist. Copy acorn.example.toml to it"):
        read_config(tmp_path / "acorn.toml")


def test_two_accounts_in_one_country_need_pools_with_names_of_their_own(folder: Path) -> None:
    first = SOUND.partition("\n[[channels]]")[0]
    text = first + "\n" + first.replace("amazon-eu", "amazon-eu-2")
    assert "name this account's pools in [[channels.pools]]" in problem(folder, text)


def test_lines_are_found_in_odd_files() -> None:
    lines = Lines(
        "# a comment with [table] = 1\n"
        "top = 1\n"
        '[ a . "b c" ]  # odd\n'
        "text = '''\n"
        "[not.a.table]\n"
        "x = 1\n"
        "'''\n"
        'dotted."k=y" = 2\n'
        "[[list]]\n"
        "[[list]]\n"
        "[[list.inner]]\n"
        "x = 1\n"
    )
    assert lines.of(("top",)) == 2
    assert lines.of(("a", "b c", "text")) == 4
    assert lines.of(("a", "b c", "dotted", "k=y")) == 8
    assert lines.of(("list", 1)) == 10
    assert lines.of(("list", 1, "inner", 0, "x")) == 12
    assert lines.of(("not", "a", "table")) == 1
    assert lines.of(("a", "b c", "text", 3)) == 4
