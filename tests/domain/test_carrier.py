"""Carriers: one name each, whatever they are called, and what each channel is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.carrier import OTHER, _carriers, _spellings, normalized, sent_as, url
from domain.channel import Platform
from domain.errors import Invalid

PLATFORMS = (Platform.AMAZON, Platform.SHOPIFY, Platform.REST)
NUMBER = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,30}", fullmatch=True)
UPS_NUMBER = "1Z999AA10123456784"


@pytest.mark.parametrize(
    ("told", "name", "service"),
    [
        ("DHL", "DHL", None),
        ("dhl paket", "DHL", "paket"),
        ("Deutsche Post DHL", "DHL", None),
        ("Deutsche Post", "Deutsche Post", None),
        ("UPS Ground", "UPS", "Ground"),
        ("ups-ground", "UPS", "ground"),
        ("UPS Mail Innovations", "UPS Mail Innovations", None),
        (" fed ex  2Day ", "FedEx", "2Day"),
        ("Hermes Logistik Gruppe", "Hermes", None),
        ("My Hermes UK", "Evri", None),
        ("ヤマト運輸", "Yamato", None),
        ("SagawaExpress", "Sagawa", None),
        # What follows a name and is no service of it makes it another name: it is never guessed.
        ("UPS Store Berlin", "UPS Store Berlin", None),
        ("GO Couriers", "GO Couriers", None),
    ],
)
def test_a_carrier_has_one_name_however_it_is_spelled(told: str, name: str, service: str | None) -> None:
    found = normalized(told, None, "X1", Platform.REST)
    assert (found.carrier, found.service) == (name, service)


def test_a_service_that_was_told_wins_over_one_in_the_name() -> None:
    assert normalized("UPS Ground", "Saver", UPS_NUMBER, Platform.REST).service == "Saver"


@pytest.mark.parametrize(
    ("name", "country", "code"),
    [
        ("DHL", "DE", "DHL"),
        ("DHL Express", "DE", "DHL"),
        ("FedEx", "US", "FedEx"),
        ("FedEx", "JP", "FEDEX_JP"),
        ("Yamato", "JP", "YAMATO"),
        ("Yamato", "US", "YamatoTransport"),
        ("PostNL", "NL", OTHER),
        ("Two Cousins", "US", OTHER),
    ],
)
def test_amazon_is_told_a_code_of_its_own_list(name: str, country: str, code: str) -> None:
    sent = sent_as(name, Platform.AMAZON, country)
    assert (sent.code, sent.name) == (code, name)


@pytest.mark.parametrize(
    ("name", "company", "known"),
    [("DHL Express", "DHL Express", True), ("bpost", "BPost", True), ("DHL", "DHL", False), ("Two", "Two", False)],
)
def test_shopify_is_told_its_own_name_of_a_company(name: str, company: str, known: bool) -> None:
    sent = sent_as(name, Platform.SHOPIFY)
    assert (sent.code, sent.known) == (company, known)


def test_what_nobody_knows_goes_with_a_warning_and_what_is_known_without() -> None:
    assert normalized("UPS", None, UPS_NUMBER, Platform.AMAZON, "US").warnings == ()
    [unknown] = normalized("Two Cousins", None, "X1", Platform.AMAZON, "US").warnings
    assert unknown.startswith("The carrier 'Two Cousins' is not known here; it goes as Other")
    [codeless] = normalized("PostNL", None, "3SABCD12345678", Platform.AMAZON, "NL").warnings
    assert codeless.startswith("Amazon has no code for PostNL")
    assert normalized("PostNL", None, "3SABCD12345678", Platform.SHOPIFY).warnings == ()


def test_a_number_that_contradicts_its_carrier_is_a_warning() -> None:
    [other] = normalized("DHL", None, UPS_NUMBER, Platform.REST).warnings
    assert other == f"{UPS_NUMBER} looks like a tracking number of UPS."
    [odd] = normalized("UPS", None, "JD0146", Platform.REST).warnings
    assert odd == "JD0146 does not look like a tracking number of UPS."
    assert normalized("UPS Mail Innovations", None, "9" * 22, Platform.REST).warnings == ()


@pytest.mark.parametrize("number", ["", " ", "-", "1Z 99\n9", "1Z99;9", "=1+1", "ÄÖ1", "1" * 101, "+49 30 1", "1,2"])
def test_a_number_of_impossible_signs_is_refused_with_its_field(number: str) -> None:
    with pytest.raises(Invalid) as refused:
        normalized("UPS", None, number, Platform.REST)
    assert refused.value.field == ("trackingNumber",)


def test_blanks_and_signs_that_nobody_sees_are_no_part_of_a_number() -> None:
    spaced = "\u200b1Z 999 AA1\u00a001 2345 6784 "
    assert normalized("UPS", None, spaced, Platform.REST).tracking_number == UPS_NUMBER


@given(st.text(max_size=120), st.none() | st.text(max_size=120), st.text(max_size=120), st.sampled_from(PLATFORMS))
def test_whatever_is_told_is_refused_or_comes_to_the_same_when_told_again(
    carrier: str, service: str | None, number: str, platform: Platform
) -> None:
    try:
        once = normalized(carrier, service, number, platform, "US")
    except Invalid:
        return
    assert normalized(once.carrier, once.service, once.tracking_number, platform, "US") == once
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9./_-]*", once.tracking_number)


@given(st.sampled_from(sorted(_carriers())), NUMBER, st.sampled_from(PLATFORMS))
def test_every_carrier_is_found_by_what_each_channel_calls_it(name: str, number: str, platform: Platform) -> None:
    assert normalized(name, None, number, platform).carrier == name
    sent = sent_as(name, platform, "JP")
    assert sent.code == OTHER or normalized(sent.code, None, number, platform).carrier in _namesakes(sent.code)
    shown = url(name, number)
    assert shown is None or (shown.startswith("https://") and "{" not in shown)


def _namesakes(code: str) -> set[str]:
    """Those that a channel calls by one code; the first of them is meant by it, or the one that has it for a name."""
    return {one.name for one in _carriers().values() if code in one.codes.values()} | {
        one.name for key, one in _spellings().items() if key == "".join(re.findall(r"[^\W_]+", code.casefold()))
    }
