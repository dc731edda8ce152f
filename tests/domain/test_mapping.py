"""Words, fields and units of channels become the house's, or a task; never a guess."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.ids import ChannelId, ChannelSku
from domain.mapping import (
    MEASURES,
    OWN_UNIT,
    FieldMap,
    FieldRule,
    check_rule,
    check_value,
    folded,
    measure,
    number,
    understood,
    words,
)
from domain.product import Attribute

SHOP = ChannelId("shop")
PLAIN = FieldMap()


def one(fields: FieldMap, name: str, raw: str, answers: dict[tuple[str, str], str] | None = None) -> Attribute | None:
    """What becomes of one attribute; the tasks agree with it."""
    told, unseen = understood(fields, SHOP, ChannelSku("A"), [Attribute(name, raw, raw)], answers or {})
    assert [(task.field, task.raw) for task in unseen] == [(it.name, it.raw) for it in told if not it.understood]
    return told[0] if told else None


@pytest.mark.parametrize(
    ("name", "raw", "ours"),
    [
        ("Color", "Navy", "navy"),
        ("Farbe", "marineblau", "navy"),
        ("カラー", "ネイビー", "navy"),
        ("カラー", "ﾈｲﾋﾞｰ", "navy"),
        ("couleur", "BLEU-MARINE", "navy"),
        ("Farbe", "Weiß", "white"),
        ("farbe", "WEISS", "white"),
        ("coloris", "écru", "ecru"),
        ("色", "黒", "black"),
        ("couleur", "Noire", "black"),
        ("colore", "Rossa", "red"),
        ("color", "Amarilla", "yellow"),
    ],
)
def test_colors_of_several_languages_are_one_word(name: str, raw: str, ours: str) -> None:
    assert one(PLAIN, name, raw) == Attribute("color", ours, raw)


@pytest.mark.parametrize(
    ("raw", "ours"),
    [
        ("XXL", "2XL"),
        ("x-large", "XL"),
        ("Einheitsgröße", "ONE"),
        ("フリーサイズ", "ONE"),
        ("39/42", "39-42"),
        ("39–42", "39-42"),
        ("42,5", "42.5"),
        ("eu 42", "EU 42"),
        ("W32/L34", "W32 L34"),
        ("w32 l34", "W32 L34"),
    ],
)
def test_sizes_have_one_spelling(raw: str, ours: str) -> None:
    assert one(PLAIN, "Größe", raw) == Attribute("size", ours, raw)


def test_a_word_that_nobody_knows_stays_as_it_is_and_becomes_a_task() -> None:
    told, unseen = understood(PLAIN, SHOP, ChannelSku("TEE-1"), [Attribute("Farbe", "Nachtviole", "Nachtviole")], {})
    assert told == [Attribute("color", "Nachtviole", "Nachtviole", understood=False)]
    (task,) = unseen
    assert (task.channel, task.field, task.raw, task.word) == (SHOP, "color", "Nachtviole", "nachtviole")
    assert (task.channel_sku, task.reason) == ("TEE-1", "No dictionary knows this color.")


@pytest.mark.parametrize("raw", ["3L", "4l", "34/32", "1/2 Zoll", "10 1/2"])
def test_a_size_that_can_be_another_thing_is_asked_about(raw: str) -> None:
    assert one(PLAIN, "size", raw) == Attribute("size", raw, raw, understood=False)
    assert one(PLAIN, "サイズ", "3Lサイズ") == Attribute("size", "2XL", "3Lサイズ")


@pytest.mark.parametrize(
    ("name", "raw"), [("Capacity", "128 GB"), ("容量", "20000mAh"), ("Inhalt", "500 g"), ("Capacidad", "2 l")]
)
def test_a_field_that_can_be_another_thing_stays_what_it_is_called(name: str, raw: str) -> None:
    assert one(PLAIN, name, raw) == Attribute(name.lower(), raw, raw)


def test_near_is_not_the_same() -> None:
    assert [one(PLAIN, "color", raw) for raw in ("navyy", "nav", "dark")] == [
        Attribute("color", raw, raw, understood=False) for raw in ("navyy", "nav", "dark")
    ]


def test_kana_that_differ_by_their_mark_are_different_words() -> None:
    assert folded("フラック") != folded("ブラック")
    assert folded("ブラック") == folded("ﾌﾞﾗｯｸ")


def test_what_people_answered_goes_before_the_configuration_and_that_before_what_comes_with_us() -> None:
    own = FieldMap(words={("color", "marine"): "ocean"})
    assert one(PLAIN, "color", "Marine") == Attribute("color", "navy", "Marine")
    assert one(own, "color", "Marine") == Attribute("color", "ocean", "Marine")
    assert one(own, "color", "Marine", {("color", "marine"): "teal"}) == Attribute("color", "teal", "Marine")


def test_rules_name_fields_and_leave_them_out() -> None:
    fields = FieldMap(
        {
            (SHOP, "col 1"): FieldRule("color"),
            (SHOP, "intern"): FieldRule(None),
            (SHOP, "gewicht"): FieldRule("weight", "kg"),
        }
    )
    assert one(fields, "COL_1", "red") == Attribute("color", "red", "red")
    assert one(fields, "intern", "secret") is None
    assert one(fields, "Gewicht", "1,5") == Attribute("weight", "1500 g", "1,5")
    assert one(fields, "Finish", "Matte") == Attribute("finish", "Matte", "Matte")


def test_labels_are_left_alone() -> None:
    assert one(FieldMap(words={("tag", "sale"): "offer"}), "tag", "Sale") == Attribute("tag", "Sale", "Sale")


def test_a_field_with_own_words_takes_no_others() -> None:
    fields = FieldMap(words={("material", "baumwolle"): "cotton"})
    assert one(fields, "Stoff", "Baumwolle") == Attribute("material", "cotton", "Baumwolle")
    assert one(fields, "Stoff", "Wolle") == Attribute("material", "Wolle", "Wolle", understood=False)
    assert one(PLAIN, "Stoff", "Wolle") == Attribute("material", "Wolle", "Wolle")


@pytest.mark.parametrize(
    ("name", "raw", "unit", "ours"),
    [
        ("weight", "1,5 kg", None, "1500 g"),
        ("weight", "0.500 kg", None, "500 g"),
        ("weight", "1.234,5 g", None, "1234.5 g"),
        ("weight", "1,234.5 g", None, "1234.5 g"),
        ("weight", "2 lbs", None, "907.18474 g"),
        ("weight", "500グラム", None, "500 g"),
        ("weight", "120", "g", "120 g"),
        ("length", '12"', None, "304.8 mm"),
        ("height", "30 cm", None, "300 mm"),
        ("volume", "0,33 Liter", None, "330 ml"),
    ],
)
def test_measures_are_exact_in_our_unit(name: str, raw: str, unit: str | None, ours: str) -> None:
    assert measure(name, raw, unit) == ours


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("1.500 g", "two ways"),
        ("1,234", "two ways"),
        ("12", "no unit"),
        ("12 cm", "no unit of weight"),
        ("heavy", "no number"),
        ("-3 kg", "no number"),
        ("1.2.3 kg", "two ways"),
        ("9" * 17 + " kg", "too many digits"),
    ],
)
def test_a_measure_that_is_not_plain_is_asked_about(raw: str, reason: str) -> None:
    found = one(PLAIN, "Gewicht", raw)
    assert found == Attribute("weight", raw, raw, understood=False)
    with pytest.raises(Invalid, match=reason):
        measure("weight", raw, None if raw != "1,234" else "g")


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=4))
def test_a_number_is_read_as_written_with_either_mark(value: Decimal) -> None:
    text = f"{value:f}"
    assert number(text) == number(text.replace(".", ",")) == value


@given(st.integers(min_value=10**3, max_value=10**12), st.sampled_from([(",", "."), (".", ",")]))
def test_groups_of_thousands_are_read_where_a_mark_tells_them_apart(value: int, marks: tuple[str, str]) -> None:
    groups, point = marks
    text = f"{value:,}".replace(",", groups) + f"{point}25"
    assert number(text) == Decimal(value) + Decimal("0.25")


@given(st.text(), st.sampled_from(["color", "size", "weight", "finish", "tag"]))
def test_nothing_is_lost_and_nothing_breaks(raw: str, name: str) -> None:
    found = one(PLAIN, name, raw)
    assert found is not None
    assert found.raw == raw
    # Once understood, our own word means itself.
    if found.understood and name in ("color", "size"):
        again = one(PLAIN, name, found.value)
        assert again is not None
        assert again.value == found.value


def test_every_word_of_ours_means_itself() -> None:
    for name in ("color", "size"):
        assert {value: PLAIN.meaning(name, value, {}) for value in PLAIN.values(name)} == {
            value: value for value in PLAIN.values(name)
        }


def test_a_word_with_two_meanings_is_refused() -> None:
    with pytest.raises(Invalid, match="stands for navy and for blue"):
        words({"navy": ["Marine"], "blue": ["MARINE"]})


def test_a_number_of_a_million_digits_is_no_measure() -> None:
    found, unseen = understood(PLAIN, SHOP, ChannelSku("A"), [Attribute("weight", "9" * 2_000_000 + " kg")], {})
    assert (found[0].understood, unseen[0].reason) == (False, "It has too many digits.")


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=5))
def test_no_digit_of_a_measure_is_rounded_away(value: Decimal) -> None:
    with localcontext(prec=60):
        exact = value * Decimal("29.5735295625")
    assert Decimal(measure("volume", f"{value:f} fl oz", None).removesuffix(" ml")) == exact


def test_an_answer_is_a_word_of_ours_unless_it_is_said_to_be_new() -> None:
    assert check_value(PLAIN, "color", " NAVY ") == "navy"
    assert check_value(PLAIN, "size", "eu 42") == "EU 42"
    assert check_value(PLAIN, "weight", "1.5 kg") == "1500 g"
    assert check_value(PLAIN, "finish", "Matte") == "Matte"
    assert check_value(PLAIN, "color", "Nachtviole", new=True) == "Nachtviole"
    with pytest.raises(Invalid, match="is no color of ours"):
        check_value(PLAIN, "color", "Nachtviole")
    with pytest.raises(Invalid, match="at least one character"):
        check_value(PLAIN, "color", "  ")
    for wild in ("na\x00vy", "n" * 101, "\ud800"):
        with pytest.raises(Invalid, match="that can be seen"):
            check_value(PLAIN, "finish", wild)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (FieldRule("weight", "cm"), "no unit of weight"),
        (FieldRule("color", "g"), "for measures"),
        (FieldRule(None, "g"), "for measures"),
    ],
)
def test_a_unit_belongs_to_its_measure(rule: FieldRule, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        check_rule(rule)


def test_every_measure_takes_its_own_unit() -> None:
    for name, dimension in MEASURES.items():
        check_rule(FieldRule(name, OWN_UNIT[dimension]))
        assert measure(name, "3", OWN_UNIT[dimension]) == f"3 {OWN_UNIT[dimension]}"
