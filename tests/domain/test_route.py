"""Routes: what each costs under the budgets of the moment, and which is taken."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.budget import Plan, Purse
from domain.route import Choice, Cost, Route, Step, Way, Wish, choose, seconds

STOCK = Plan("readStock", rate=2, burst=2)
ASK, LOOK, FETCH = Plan("askReport", 0.0167, 15), Plan("lookReport", 2, 15), Plan("fetchReport", 0.0167, 15)
SEASON = Plan("season", 1 / 1800, 1)

FULL = {
    "readStock": Purse(2, 2, 2),
    "askReport": Purse(15, 0.0167, 15),
    "lookReport": Purse(15, 2, 15),
    "fetchReport": Purse(15, 0.0167, 15),
    "season": Purse(1, 1 / 1800, 1),
}


def batch(calls: int, way: Way = Way.BATCH, **changes: float) -> Route:
    return Route(way, (Step(STOCK, calls, call_s=0.25),), whole=way is Way.PAGES, **changes)


def report(takes_s: float = 180.0) -> Route:
    steps = (Step(SEASON, 1, made=False), Step(ASK, 1, then_s=takes_s), Step(LOOK, 2), Step(FETCH, 1))
    return Route(Way.REPORT, steps, whole=True, age_s=takes_s)


def ways(choice: Choice) -> list[Way]:
    return [choice.taken.route.way, *(one.route.way for one in choice.others)]


def test_a_full_bucket_pays_for_its_burst_and_the_rest_comes_at_the_rate() -> None:
    assert seconds(batch(1), FULL) == 0.25
    assert seconds(batch(2), FULL) == 0.5
    assert seconds(batch(100), FULL) == pytest.approx(49.25)


def test_who_waits_already_and_what_is_kept_for_others_come_first() -> None:
    purse = Purse(0, 2, 2)
    assert seconds(batch(1), {"readStock": purse}) == pytest.approx(0.75)
    assert seconds(batch(1), {"readStock": replace(purse, ahead=10)}) == pytest.approx(5.75)
    assert seconds(batch(1), {"readStock": replace(purse, kept=0.5)}) == pytest.approx(1.0)


def test_slow_answers_count_where_the_budget_does_not_hold_them_back() -> None:
    slow = Route(Way.SINGLE, (Step(LOOK, 10, call_s=3.0),))
    assert seconds(slow, FULL) == 30.0
    assert seconds(Route(Way.SINGLE, (Step(LOOK, 10, call_s=3.0, abreast=5),)), FULL) == 6.0


def test_a_bucket_gains_while_the_platform_works() -> None:
    empty = FULL | {"fetchReport": Purse(0, 0.0167, 15)}
    assert seconds(report(10.0), empty) == pytest.approx(1 / 0.0167)
    assert seconds(report(180.0), empty) == pytest.approx(180.0)


def test_two_steps_of_one_operation_spend_one_purse() -> None:
    both = Route(Way.SINGLE, (Step(STOCK, 2), Step(STOCK, 2)))
    assert seconds(both, FULL) == seconds(Route(Way.SINGLE, (Step(STOCK, 4),)), FULL) == 1.0


def test_a_budget_that_gives_nothing_is_for_ever() -> None:
    assert seconds(batch(1), {"readStock": Purse(0, 0, 2)}) == math.inf


def test_five_thousand_take_the_batch_while_its_bucket_is_well_and_the_report_when_it_is_slow() -> None:
    routes = [batch(100), batch(5000, Way.SINGLE), batch(100, Way.PAGES), report()]
    quick = choose(routes, FULL)
    assert ways(quick) == [Way.BATCH, Way.PAGES, Way.REPORT, Way.SINGLE]
    assert [one.lost for one in quick.others] == [
        "neither sooner nor cheaper",
        "slower: 180.0 s against 49.2 s",
        "slower: 2,499.2 s against 49.2 s",
    ]
    slow = choose(routes, FULL | {"readStock": Purse(0, 0.1, 2)})
    assert ways(slow)[0] is Way.REPORT
    assert (slow.taken.calls, slow.taken.seconds) == (4, 180.0)


def test_a_report_of_this_half_hour_is_not_had_again() -> None:
    spent = FULL | {"season": Purse(0, 1 / 1800, 1)}
    choice = choose([batch(2000, Way.PAGES), report()], spent, Wish(whole=True))
    assert choice.taken.route.way is Way.PAGES
    assert choice.others[0].seconds == pytest.approx(1980.0)


def test_all_of_a_pool_is_not_found_by_asking_for_what_is_known() -> None:
    choice = choose([batch(1), batch(40, Way.PAGES)], FULL, Wish(whole=True))
    assert choice.taken.route.way is Way.PAGES
    assert choice.others[0].lost == "it finds only what is known already"


def test_a_walk_whose_next_slot_comes_too_late_for_its_token_is_not_taken() -> None:
    walk = batch(100, Way.PAGES, longest_pause_s=25.0)
    starved = FULL | {"readStock": Purse(2, 0.03, 2)}
    choice = choose([walk, report(9000.0)], starved, Wish(whole=True))
    assert choice.taken.route.way is Way.REPORT
    assert choice.others[0].lost == "its calls would lie 33.3 s apart, and it breaks off after 25.0 s"
    assert choose([replace(walk, steps=(Step(STOCK, 1),))], starved).taken.route.way is Way.PAGES


def test_answers_that_would_be_too_old_are_not_waited_for() -> None:
    slow = FULL | {"readStock": Purse(0, 0.1, 2)}
    choice = choose([batch(100), report()], slow, Wish(max_age_s=60))
    assert choice.taken.route.way is Way.BATCH
    assert choice.others[0].lost == "its answers would be 180.0 s old when they come, 60.0 s are wished"


def test_in_time_or_else_the_soonest() -> None:
    routes = [batch(5), report()]
    in_time = choose(routes, FULL, Wish(within_s=10))
    assert in_time.in_time
    assert in_time.others[0].lost == "it is there after 180.0 s, and 10.0 s are left"
    late = choose(routes, FULL, Wish(within_s=1))
    assert not late.in_time
    assert late.taken.route.way is Way.BATCH
    assert late.reason == "None is there in time; this one is the soonest."


def test_where_none_can_the_reasons_are_told() -> None:
    with pytest.raises(ValueError, match="finds only what is known already"):
        choose([batch(1)], FULL, Wish(whole=True))


# Properties

any_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PURSES = st.fixed_dictionaries(
    {
        name: st.builds(
            Purse,
            tokens=st.floats(0, 20),
            rate=st.floats(0.001, 50),
            most=st.just(20.0),
            kept=st.floats(0, 4),
            ahead=st.integers(0, 20),
        )
        for name in FULL
    }
)
STEPS = st.builds(
    Step,
    plan=st.sampled_from([STOCK, ASK, LOOK, FETCH, SEASON]),
    calls=st.integers(0, 200),
    tokens=st.floats(0.5, 5),
    call_s=st.floats(0, 2),
    then_s=st.floats(0, 300),
    abreast=st.integers(1, 8),
    made=st.booleans(),
)
ROUTES = st.lists(
    st.builds(
        Route,
        way=st.sampled_from(Way),
        steps=st.lists(STEPS, min_size=1, max_size=4).map(tuple),
        whole=st.booleans(),
        age_s=st.floats(0, 300),
        longest_pause_s=st.floats(1, 100) | st.just(math.inf),
    ),
    min_size=1,
    max_size=5,
    unique=True,
)
WISHES = st.builds(
    Wish, whole=st.booleans(), within_s=st.floats(0, 500) | st.just(math.inf), max_age_s=st.just(math.inf)
)


def chosen(routes: list[Route], purses: dict[str, Purse], wish: Wish) -> Choice | None:
    """None where no route can do it."""
    try:
        return choose(routes, purses, wish)
    except ValueError:
        return None


@any_machine
@given(ROUTES, PURSES, WISHES)
def test_no_route_that_is_passed_over_beats_the_one_taken(
    routes: list[Route], purses: dict[str, Purse], wish: Wish
) -> None:
    choice = chosen(routes, purses, wish)
    if choice is None:
        return

    def beats(one: Cost) -> bool:
        mine, taken = (one.seconds, one.calls), (choice.taken.seconds, choice.taken.calls)
        return mine != taken and all(a <= b for a, b in zip(mine, taken, strict=True))

    beating = [one.lost for one in choice.others if beats(one)]
    assert all(why.startswith(("it finds only", "its calls would lie")) for why in beating)
    assert len(choice.others) == len(routes) - 1
    assert all(one.lost for one in choice.others)
    assert not choice.taken.lost


@any_machine
@given(ROUTES, PURSES, WISHES)
def test_the_choice_does_not_hang_on_the_order_of_the_candidates(
    routes: list[Route], purses: dict[str, Purse], wish: Wish
) -> None:
    first, again = chosen(routes, purses, wish), chosen(routes[::-1], purses, wish)
    if first is None or again is None:
        assert first is again
        return
    assert (first.taken.seconds, first.taken.calls, first.taken.route.way) == (
        again.taken.seconds,
        again.taken.calls,
        again.taken.route.way,
    )


@any_machine
@given(ROUTES, PURSES, WISHES, st.sampled_from(sorted(FULL)), st.floats(0, 20), st.floats(1, 10))
def test_more_budget_never_makes_it_slower(
    routes: list[Route], purses: dict[str, Purse], wish: Wish, operation: str, tokens: float, times: float
) -> None:
    purse = purses[operation]
    richer = purses | {operation: replace(purse, tokens=purse.tokens + tokens, rate=purse.rate * times)}
    before = chosen(routes, purses, wish)
    if before is None:
        return
    assert choose(routes, richer, wish).taken.seconds <= before.taken.seconds * (1 + 1e-9) + 1e-6


@any_machine
@given(ROUTES, PURSES, st.integers(0, 50))
def test_more_callers_ahead_never_make_it_quicker(routes: list[Route], purses: dict[str, Purse], more: int) -> None:
    poorer = {name: replace(purse, ahead=purse.ahead + more) for name, purse in purses.items()}
    for one in routes:
        assert seconds(one, poorer) >= seconds(one, purses) - 1e-9


@any_machine
@given(st.integers(1, 500), st.floats(0, 20), st.floats(0.01, 50), st.floats(0, 2))
def test_the_sum_is_what_calls_made_one_after_the_other_take(
    calls: int, tokens: float, rate: float, call_s: float
) -> None:
    """The formula against a bucket that is really emptied, call by call, and never fuller than it may be."""
    at, held, most = 0.0, tokens, max(20.0, tokens)
    for _ in range(calls):
        wait_s = max(0.0, (1.0 - held) / rate)
        at, held = at + wait_s, min(most, held + wait_s * rate) - 1.0
        at, held = at + call_s, min(most, held + call_s * rate)
    route = Route(Way.SINGLE, (Step(STOCK, calls, call_s=call_s),))
    assert seconds(route, {"readStock": Purse(tokens, rate, most)}) == pytest.approx(at, rel=1e-6, abs=1e-6)
