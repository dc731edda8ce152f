"""acorn.toml: what it means, and that a mistake is told with its line and its mend."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.amazon.platform import AmazonPort
from domain.channel import LocationKind, StreamName
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.payment_fee import PaymentFee
from gateway.config import Config, ConfigError, read_config
from gateway.lines import Lines
from gateway.settings import Settings
from gateway.wiring import build_house

EXAMPLE = Path(__file__).parents[2] / "acorn.example.toml"
SIGNING = "whsec_" + base64.b64encode(bytes(24)).decode()
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
    assert len(NAMES) == 15
    assert sorted(named) == sorted([*NAMES, "ACORN_DATABASE_URL", "ACORN_REDIS_URL", "ACORN_DATABASE_PASSWORD"])
    assert "letters and digits only" in text


def example() -> Config:
    signing = ("WMS_BERLIN_SECRET", "WMS_BERLIN_TRACKING", "PLANNING_SECRET")
    return read_config(EXAMPLE, {name: SIGNING if name in signing else "gid://shopify/Location/2" for name in NAMES})


async def test_the_example_builds_a_house(settings: Settings) -> None:
    config = example()
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
            "HAM",
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
        assert pool.shown == {"shop": "gid://shopify/Location/1"}
        berlin, reno, hamburg = house.locations[:3]
        assert [place.ours for place in house.locations] == [True, True] + [False] * 6
        assert (berlin.shown, berlin.opens_from) == ({"shop": "gid://shopify/Location/1"}, "shop")
        assert sorted(berlin.sells_to or ()) == ["amazon-eu", "amazon-us", "shop"]
        assert not berlin.sells(ChannelId("shop-b2b"))
        assert (berlin.time_zone, berlin.latitude, berlin.longitude) == ("Europe/Berlin", 52.4996, 13.4072)
        assert (reno.time_zone, reno.latitude) == ("UTC", None)
        assert reno.sells_to is None
        assert reno.sells(ChannelId("shop-b2b"))
        assert (hamburg.keeper, hamburg.external_id, hamburg.shown) == ("shop", "gid://shopify/Location/3", {})
        assert [(one.id, one.secrets, sorted(one.locations)) for one in house.feeds_in] == [
            ("wms-berlin", (bytes(24),), ["BER"]),
        ]
        [told] = house.tracking_in
        assert (told.id, told.locations) == ("wms-berlin", frozenset({LocationCode("BER")}))
        assert told.channels == frozenset({ChannelId("shop"), ChannelId("amazon-us")})
        [out] = house.feeds_out
        assert (out.id, out.secret, out.locations) == ("planning", bytes(24), ("BER", "RNO"))
        assert [sku for sku in ("TEE-1", "BAG-2", "CUP-3") if out.wants(Sku(sku))] == ["TEE-1", "BAG-2"]
        assert config.hints == []
        assert house.sku_map.ours(ChannelId("amazon-us"), ChannelSku("AMZ-TEE-NAVY-M")) == "TEE-00001-NAVY-M"
        assert house.sku_map.ours(ChannelId("shop"), ChannelSku("AMZ-TEE-NAVY-M")) == "AMZ-TEE-NAVY-M"
        assert house.intervals == {
            (ChannelId("amazon-us"), StreamName.ORDERS): timedelta(minutes=15),
            (ChannelId("amazon-us"), StreamName.STOCK): timedelta(minutes=15),
            (ChannelId("amazon-us"), StreamName.LISTINGS): timedelta(hours=6),
            (ChannelId("amazon-us"), StreamName.SHOWN): timedelta(minutes=15),
            (ChannelId("amazon-us"), StreamName.RETURNS): timedelta(hours=6),
            (ChannelId("amazon-us"), StreamName.SETTLEMENTS): timedelta(hours=6),
            (ChannelId("amazon-us"), StreamName.TRANSACTIONS): timedelta(minutes=30),
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
        (
            'keeper = "shop"',
            'keeper = "amazon-eu"',
            'acorn.toml, line 22: `keeper` must be who counts here: "ledger" for what we count ourselves, shop.',
        ),
        (
            'code = "BER"',
            'code = "fba-de"',
            "acorn.toml, line 1: the pool fba-de of amazon-eu has a code that shop uses",
        ),
        ('code = "BER"', 'code = "BER"\nkind = "FBA"', "acorn.toml, line 21: `kind`: Input should be 'WAREHOUSE'"),
        ('name = "Berlin"', "name = Berlin", "acorn.toml: this is not TOML: Invalid value (at line 21, column 8)"),
        ("[[locations]]", '[sku_map.nowhere]\n"A" = "B"\n[[locations]]', "line 19: no channel is called nowhere"),
        ("[[locations]]", '[stock]\nmax_age = "5 minutes"\n[[locations]]', "line 20: `max_age`: write a duration"),
        ("[[locations]]", '[stock]\nmax_age = "PT"\n[[locations]]', "line 20: `max_age`: write a duration"),
        ("[[locations]]", f'[stock]\nmax_age = "P{10**400}D"\n[[locations]]', "line 20: `max_age`: write a duration"),
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


def test_a_list_of_which_one_entry_is_wrong_is_not_called_empty(folder: Path) -> None:
    only = SOUND[: SOUND.index("[[channels]]", 1)].replace("env:TOKEN", "env:NOWHERE")
    with pytest.raises(ConfigError) as caught:
        read(folder, only)
    [told] = str(caught.value).splitlines()
    assert "NOWHERE is not set" in told


LEDGER = """\
[[locations]]
code = "BER"
name = "Berlin"
keeper = "ledger"
opens_from = "shop"
sells_to = ["shop", "amazon-eu"]

[locations.shown]
shop = "gid://shopify/Location/1"

[[locations]]
code = "HAM"
name = "Hamburg"
keeper = "shop"
external_id = "gid://shopify/Location/3"

[[feeds_in]]
id = "wms"
secret = "env:SIGNING"
locations = ["BER"]

[[feeds_out]]
id = "planning"
url = "https://planning.example.com/stock"
secret = "env:SIGNING"
"""
COUNTED = SOUND.partition("[[locations]]")[0] + LEDGER
POOL = '[[channels.pools]]\ncode = "p"\nname = "P"\nmarketplaces = ["DE"]\n[channels.pools.shown]\n'


def test_a_place_can_be_counted_by_ourselves(folder: Path) -> None:
    berlin, hamburg, *_ = read(folder, COUNTED, {**ENVIRON, "SIGNING": SIGNING}).locations
    assert (berlin.keeper, berlin.ours, berlin.external_id, berlin.opens_from) == ("ledger", True, "", "shop")
    assert (hamburg.keeper, hamburg.ours) == ("shop", False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "shop"', 'id = "ledger"', "line 13: `ledger` is what we count ourselves; give this channel another id."),
        (
            'opens_from = "shop"',
            'opens_from = "amazon-eu"',
            "line 23: `opens_from` must be a channel that stands under [locations.shown]: there is shop. "
            "Add a line `amazon-eu = …` there, or remove this one.",
        ),
        (
            '[locations.shown]\nshop = "gid://shopify/Location/1"',
            "",
            "line 23: `opens_from` must be a channel that stands under [locations.shown]: there is none.",
        ),
        (
            '"shop", "amazon-eu"',
            '"shop", "amazn-eu"',
            "line 24: no channel is called amazn-eu; there are amazon-eu, shop.",
        ),
        (
            'shop = "gid://shopify/Location/1"',
            'shp = "gid://shopify/Location/1"',
            "line 27: no channel is called shp; those that know places are shop.",
        ),
        (
            'shop = "gid://shopify/Location/1"',
            'shop = "gid://shopify/Location/1"\namazon-eu = "BER"',
            "line 28: amazon-eu shows one number for all places together; remove this line.",
        ),
        (
            '["shop", "amazon-eu"]',
            '["amazon-eu"]',
            "line 27: shop may not sell from BER; add it to `sells_to`, or remove this line.",
        ),
        (
            'shop = "gid://shopify/Location/1"',
            'shop = "gid://shopify/Location/3"',
            "line 27: this place of shop stands for HAM already; one place there can show only one of ours.",
        ),
        (
            'keeper = "ledger"',
            'keeper = "ledger"\nexternal_id = "gid://shopify/Location/1"',
            "line 23: `external_id` is for places that a channel counts. Remove it; what a channel calls this place stands",
        ),
        (
            'keeper = "shop"\nexternal_id = "gid://shopify/Location/3"',
            'keeper = "shop"',
            "line 29: `external_id` is missing here: what shop calls this place. Add it, or count here yourself",
        ),
        (
            "[[feeds_in]]",
            '[[locations]]\ncode = "ALT"\nname = "Altona"\nkeeper = "shop"\n'
            'external_id = "gid://shopify/Location/3"\n[[feeds_in]]',
            "line 39: HAM is this place of shop already; its units would count twice. Remove one.",
        ),
        (
            'keeper = "shop"\n',
            'keeper = "shop"\nopens_from = "shop"\n',
            "line 33: shop counts here itself, so nothing is shown to it or opened from it; remove `opens_from`",
        ),
        ('id = "wms"', 'id = "WMS"', "line 36: `id` must match"),
        (
            "env:SIGNING",
            "whsec_c2hvcnQ=",
            'line 37: `secret`: write "whsec_" and the base64 of at least 24 random bytes',
        ),
        ("env:SIGNING", "hunter2", 'line 37: `secret`: write "whsec_" and the base64 of at least 24 random bytes'),
        (
            'locations = ["BER"]',
            'locations = ["HAM"]',
            "line 38: HAM is no place that the ledger counts; there is BER.",
        ),
        ('locations = ["BER"]', "", "line 35: `locations` is missing here."),
        (
            'name = "Berlin"\n',
            'name = "Berlin"\ntime_zone = "Berlin"\n',
            "`time_zone`: write a name of the IANA's time zones, such as Europe/Berlin",
        ),
        ("https://planning", "http://planning", "line 42: `url`: write an address that begins with https://"),
        ("https://planning", "planning", "line 42: `url`: write an address that begins with https://"),
        ("[[feeds_out]]", "[[feeds_out]]\nurls = 1", "line 41: `urls` is no key of ours. Did you mean `url`?"),
        (
            "[[feeds_out]]",
            '[[feeds_in]]\nid = "wms"\nsecret = "env:SIGNING"\nlocations = ["BER"]\n[[feeds_out]]',
            "line 41: another feed is called wms too; give this one another id.",
        ),
        (
            "[[feeds_out]]",
            '[[tracking_in]]\nid = "files"\nsecret = "env:SIGNING"\n[[feeds_out]]',
            "line 41: POST /tracking/files takes files; give this source another id.",
        ),
        (
            "[[feeds_out]]",
            '[[tracking_in]]\nid = "wms"\nsecret = "env:SIGNING"\nchannels = ["shops"]\n[[feeds_out]]',
            "line 43: no channel is called shops; there are",
        ),
        (
            'refresh_token = "env:TOKEN"\n',
            f'refresh_token = "env:TOKEN"\n{POOL}shop = "gid://shopify/Location/3"\n',
            "line 16: shop counts at this place itself (HAM); name another one.",
        ),
        (
            'refresh_token = "env:TOKEN"\n',
            f'refresh_token = "env:TOKEN"\n{POOL}amazon-eu = "x"\n',
            "line 16: amazon-eu shows one number for all places together; remove this line.",
        ),
    ],
)
def test_places_and_feeds_that_make_no_sense_are_told(folder: Path, old: str, new: str, said: str) -> None:
    assert old in COUNTED
    found = problem(folder, COUNTED.replace(old, new, 1), {**ENVIRON, "SIGNING": SIGNING})
    assert said in found
    assert "hunter2" not in found


def test_two_places_of_ours_cannot_share_one_of_a_shop(folder: Path) -> None:
    second = LEDGER.partition('[[locations]]\ncode = "HAM"')[0].replace("BER", "RNO")
    text = COUNTED.replace("[[feeds_in]]", second + "[[feeds_in]]")
    assert problem(folder, text, {**ENVIRON, "SIGNING": SIGNING}) == (
        "acorn.toml, line 43: this place of shop stands for BER already; one place there can show only one of ours."
    )


def test_a_feed_may_go_to_this_very_machine_in_the_clear(folder: Path) -> None:
    for host in ("localhost:8080", "127.0.0.1", "[::1]:9"):
        text = COUNTED.replace("https://planning.example.com", f"http://{host}")
        [feed] = read(folder, text, {**ENVIRON, "SIGNING": SIGNING}).file.feeds_out
        assert feed.url == f"http://{host}/stock"


def test_a_shop_that_shows_no_place_of_ours_is_hinted_at(folder: Path) -> None:
    other = SOUND[SOUND.index('[[channels]]\nid = "shop"') : SOUND.index("[[locations]]")].replace('"shop"', '"b2b"')
    text = COUNTED.replace("[[locations]]", other + "[[locations]]", 1).replace(
        'sells_to = ["shop", "amazon-eu"]\n', ""
    )
    assert read(folder, text, {**ENVIRON, "SIGNING": SIGNING}).hints == [
        "b2b shows no place of the ledger, so its numbers are left alone; name its places under [locations.shown]."
    ]
    assert read(folder, COUNTED, {**ENVIRON, "SIGNING": SIGNING}).hints == []


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


@pytest.mark.parametrize(
    ("table", "near", "meant"),
    [
        ("[orders]", "transitt", "transit"),
        ('[[locations]]\ncode = "X"\nname = "X"\nkeeper = "ledger"\n[locations.address]', "regoin", "region"),
        ('[[carriers]]\nid = "c"\nname = "C"', "tokem", "token"),
        ('[[tracking_in]]\nid = "t"', "chanels", "channels"),
        ("[fields.amazon.color]", "unti", "unit"),
    ],
)
def test_a_misspelt_key_is_told_with_what_was_meant_in_whatever_table(
    folder: Path, table: str, near: str, meant: str
) -> None:
    """The report of a mistake once broke down itself in tables that it had not heard of."""
    told = problem(folder, f"{SOUND}\n{table}\n{near} = 1\n")
    assert f"`{near}` is no key of ours. Did you mean `{meant}`?" in told


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


def test_a_shop_may_say_what_its_payments_cost(folder: Path) -> None:
    fee = 'shop = "acorn.myshopify.com"\npayment_fee = "2.9 % + 0.30"'
    text = SOUND.replace('shop = "acorn.myshopify.com"', fee)
    [_, shop] = [one.channel() for one in read(folder, text).file.channels]
    assert shop.payment_fee == PaymentFee(Decimal("2.9"), Decimal("0.30"))
    told = problem(folder, text.replace("2.9 % + 0.30", "0.30"))
    assert told == (
        "acorn.toml, line 17: `payment_fee`: '0.30' is no fee; write percent and what is taken of each order, such as "
        "`2.9 % + 0.30`. acorn.example.toml shows every key."
    )


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
