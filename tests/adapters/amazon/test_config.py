"""What a channel is told, and the address that follows from it."""

from dataclasses import replace

import pytest

from adapters.amazon.marketplaces import marketplace
from domain.channel import Channel, Platform
from domain.errors import Invalid
from domain.ids import ChannelId
from tests.adapters.amazon.bench import make_config


def make_channel(*marketplaces: str, sandbox: bool = False) -> Channel:
    return Channel(ChannelId("amazon"), Platform.AMAZON, "Amazon", sandbox, marketplaces)


@pytest.mark.parametrize(
    ("region", "code", "sandbox", "api"),
    [
        ("na", "US", False, "https://sellingpartnerapi-na.amazon.com"),
        ("eu", "DE", False, "https://sellingpartnerapi-eu.amazon.com"),
        ("fe", "JP", False, "https://sellingpartnerapi-fe.amazon.com"),
        ("eu", "DE", True, "https://sandbox.sellingpartnerapi-eu.amazon.com"),
    ],
)
def test_the_region_says_where_to_ask(region: str, code: str, sandbox: bool, api: str) -> None:
    config = make_config(region, endpoint=None, channel=make_channel(code, sandbox=sandbox))
    assert config.api == api
    assert config.login == "https://api.amazon.com/auth/o2/token"


def test_an_endpoint_of_ones_own_answers_for_tokens_too() -> None:
    config = make_config(endpoint="http://127.0.0.1:8010/")
    assert (config.api, config.login) == ("http://127.0.0.1:8010", "http://127.0.0.1:8010/auth/o2/token")
    assert replace(config, token_endpoint="https://login.test/token").login == "https://login.test/token"


def test_a_marketplace_of_another_region_is_refused() -> None:
    with pytest.raises(Invalid, match="JP is not sold from the region eu but from fe"):
        make_config("eu", channel=make_channel("DE", "JP"))


def test_an_unknown_marketplace_region_or_none_is_refused() -> None:
    with pytest.raises(Invalid, match="'XX' is not an Amazon marketplace"):
        make_config("eu", channel=make_channel("XX"))
    with pytest.raises(Invalid, match="'mars' is not a selling region"):
        replace(make_config(), region="mars")
    with pytest.raises(Invalid, match="names no marketplace"):
        make_config("na", channel=make_channel())


def test_the_united_kingdom_has_two_codes() -> None:
    assert marketplace("GB") is marketplace("UK")
