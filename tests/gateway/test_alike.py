"""What an event means to many alike is worked out once; what differs, fails or costs is everybody's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import get_operation_ast, parse

from gateway import alike
from gateway.alike import Alike, varying
from gateway.execution import Answer, Run
from gateway.plan import Plans
from resolvers.context import Caller
from tests.gateway import sample

FOLLOW = "subscription ($s: String!, $with: Boolean = true) { follow(subject: $s) { cursor text @include(if: $with) } }"
PLANS = Plans(sample.schema._schema, sample.SCOPES)


@dataclass
class Told:
    """An event that says whom it is told alike."""

    same: object


def run(scope: str = "read", wants_bill: bool = False, **variables: Any) -> Run:
    return Run(PLANS.of(FOLLOW, None), variables, Caller("any", frozenset({scope})), "1", 10, wants_bill)


@pytest.fixture
def made() -> list[Answer]:
    return []


async def told(alike: Alike, made: list[Answer], one: Run, event: object, *errors: Any) -> Answer:
    async def make(_: object) -> Answer:
        await asyncio.sleep(0)
        made.append(Answer(str(len(made)).encode(), errors))
        return made[-1]

    return await alike.of(Alike.likeness(one), event, make)


async def test_a_crowd_has_it_worked_out_once_and_gets_the_same_bytes(made: list[Answer]) -> None:
    shared = Alike()
    crowd = [told(shared, made, run(s=str(number)), Told("A 1")) for number in range(50)]
    answers = [*await asyncio.gather(*crowd), await told(shared, made, run(s="late"), Told("A 1"))]
    assert len(made) == 1
    assert all(one is made[0] for one in answers)


@pytest.mark.parametrize(
    ("other", "event"),
    [
        (run(s="A"), Told("A 2")),
        (run("admin", s="A"), Told("A 1")),
        (run("read", False, **{"s": "A", "with": False}), Told("A 1")),
        (run(s="A", wants_bill=True), Told("A 1")),
        (run(s="A"), object()),
    ],
    ids=["event", "scopes", "selection", "bill", "unmarked"],
)
async def test_what_may_differ_is_worked_out_apart(made: list[Answer], other: Run, event: object) -> None:
    shared = Alike()
    await told(shared, made, run(s="A"), Told("A 1"))
    assert (await told(shared, made, other, event)).body == b"1"


async def test_failures_are_told_to_each_in_words_of_its_own(made: list[Answer]) -> None:
    shared = Alike()
    crowd = [told(shared, made, run(s="A"), Told("A 1"), {"message": "no"}) for _ in range(3)]
    assert sorted(one.body for one in await asyncio.gather(*crowd)) == [b"0", b"1", b"2"]


async def test_who_comes_a_while_later_has_it_worked_out_anew(
    made: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Alike()
    await told(shared, made, run(s="A"), Told("A 1"))
    monkeypatch.setattr(alike, "KEPT_S", 0.0)
    assert (await told(shared, made, run(s="A"), Told("A 1"))).body == b"1"


async def test_what_is_of_no_use_any_more_is_dropped(made: list[Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Alike()
    monkeypatch.setattr(alike, "MOST_BYTES", 3)
    for number in range(8):
        await told(shared, made, run(s="A"), Told(f"A {number}"))
    assert [one.answer.body for one in shared._told.values()] == [b"5", b"6", b"7"]
    monkeypatch.setattr(alike, "KEPT_S", 0.0)
    await told(shared, made, run(s="A"), Told("A 9"))
    assert (len(shared._told), shared._bytes) == (0, 0)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("subscription ($a: Int) { stock(skus: $a) { sku } }", ()),
        ("subscription ($a: Int, $b: Int) { stock(skus: $a) { offer(channelId: $b) { quantity } } }", ("b",)),
        (
            "subscription ($a: Int, $b: Int) { ...F } fragment F on S { stock(skus: $a) { sku @skip(if: $b) } }",
            ("a", "b"),
        ),
        ("subscription ($a: Int, $b: Int) { stock(skus: $a) @include(if: $b) { sku } }", ("b",)),
    ],
)
def test_variables_count_where_they_decide_what_is_told(text: str, names: tuple[str, ...]) -> None:
    document = parse(text)
    operation = get_operation_ast(document, None)
    assert operation is not None
    assert varying(document, operation) == names
