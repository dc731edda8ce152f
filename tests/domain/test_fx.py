"""Rates of exchange: always of a named source and day, always through one base."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.fx import OLD_DAYS, Rates
from domain.money import Money, minor_digits
from domain.price_inputs import FxRate

FRIDAY = date(2026, 11, 27)
CURRENCIES = ("USD", "JPY", "GBP", "BHD")


def ecb(quote: str, rate: str, day: date = FRIDAY) -> FxRate:
    return FxRate("EUR", quote, Decimal(rate), day, "ECB")


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


published = st.lists(
    st.builds(
        ecb,
        st.sampled_from(CURRENCIES),
        st.decimals("0.01", "300", places=4).map(str),
        st.integers(0, 9).map(lambda back: FRIDAY - timedelta(days=back)),
    ),
    unique_by=lambda one: (one.quote, one.day),
    max_size=20,
)


@given(published, st.randoms())
def test_the_order_in_which_rates_come_is_no_matter(rates: list[FxRate], dice: object) -> None:
    shuffled = list(rates)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = Rates(tuple(rates)), Rates(tuple(shuffled))
    for currency in ("EUR", *CURRENCIES):
        assert one.into(currency, FRIDAY) == other.into(currency, FRIDAY)


@given(published, st.decimals("0.01", "100000", places=2))
def test_there_and_back_is_the_same_amount_to_the_minor_unit(rates: list[FxRate], amount: Decimal) -> None:
    known = Rates(tuple(rates))
    for currency in CURRENCIES:
        there = known.convert(Money(amount, "EUR"), currency, FRIDAY)
        if there is None:
            assert all(one.quote != currency for one in rates)
            continue
        back = known.convert(there.money, "EUR", FRIDAY)
        assert back is not None
        # What is lost is half of the last decimal that was kept, times the rate back.
        assert there.rate is not None
        lost = Decimal(1).scaleb(-minor_digits(currency) - 4) / there.rate.rate
        assert abs(back.money.amount - amount) <= lost + amount * Decimal("1e-9") + Decimal("1e-5")


def test_two_currencies_are_converted_through_the_base_of_one_day() -> None:
    rates = Rates((ecb("USD", "1.10"), ecb("JPY", "165"), ecb("JPY", "180", FRIDAY + timedelta(days=1))))
    found = rates.convert(Money(Decimal(10), "USD"), "JPY", FRIDAY + timedelta(days=2))
    assert found is not None
    # The yen of Saturday has no dollar beside it.
    assert found.money == Money(Decimal("1500.0000"), "JPY")
    assert found.rate == FxRate("USD", "JPY", Decimal(150), FRIDAY, "ECB through EUR")
    assert found.words == "1 USD = 150 JPY (ECB through EUR, 2026-11-27)"


def test_two_sources_are_never_mixed_in_one_rate() -> None:
    bank = FxRate("GBP", "JPY", Decimal(190), FRIDAY, "bank")
    assert Rates((ecb("USD", "1.1"), bank)).convert(Money(Decimal(1), "USD"), "JPY", FRIDAY) is None


def test_no_rate_of_a_later_day_is_used_and_an_old_one_says_so() -> None:
    rates = Rates((ecb("USD", "1.25"),))
    assert rates.convert(euros("1"), "USD", FRIDAY - timedelta(days=1)) is None
    fresh = rates.convert(euros("1"), "USD", FRIDAY + timedelta(days=OLD_DAYS))
    old = rates.convert(euros("1"), "USD", FRIDAY + timedelta(days=OLD_DAYS + 1))
    assert fresh is not None
    assert not fresh.old
    assert old is not None
    assert old.old
    assert "8 days old" in old.words


def test_one_currency_needs_no_rate() -> None:
    found = Rates().convert(euros("3.999999"), "EUR", FRIDAY)
    assert found is not None
    assert (found.money, found.rate, found.words) == (euros("3.999999"), None, "")
