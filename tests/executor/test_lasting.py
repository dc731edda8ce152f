"""What is kept of objects that last: it is copied into the next answer, and is the same as if it had been made anew."""

from __future__ import annotations

# mypy: disable-error-code="untyped-decorator"
import json
from dataclasses import dataclass, field
from typing import Any

import strawberry
from graphql import parse

from executor import CompiledPlan, batched, compile, lasting
from executor.written import MOST_KEPT


@dataclass(slots=True)
class Part:
    name: str


class Box:
    """Counts how often it is looked into."""

    def __init__(self, sku: str, room: dict[Any, Any] | None) -> None:
        self.sku = sku
        self.room = room
        self.looked = 0
        self.parts = [Part("lid"), Part("ground")]

    @property
    def units(self) -> int:
        self.looked += 1
        return 7


@dataclass(slots=True)
class Told:
    """The context of an operation: what the resolver of a box tells, and the boxes."""

    boxes: list[Box | None]
    label: str = "a label"
    asked: list[int] = field(default_factory=list)


def labels(boxes: list[Box], info: Any) -> list[str | Exception]:
    info.context.asked.append(len(boxes))
    return [ValueError("torn") if info.context.label == "torn" else info.context.label for _ in boxes]


@strawberry.type(name="Part")
class PartType:
    name: str


@lasting("room")
@strawberry.type(name="Box")
class BoxType:
    sku: str
    units: int
    parts: list[PartType]

    @strawberry.field
    @batched(labels)
    def label(self) -> str | None:
        return None


@strawberry.type
class Query:
    @strawberry.field(graphql_type=list[BoxType | None])
    def boxes(self, info: strawberry.Info) -> list[Box | None]:
        boxes: list[Box | None] = info.context.boxes
        return boxes

    @strawberry.field
    def fails(self) -> str | None:
        raise ValueError("no")


schema = strawberry.Schema(Query)

PLAIN = "{ boxes { sku units parts { name } } }"
LABELLED = "{ boxes { sku units label parts { name } } }"


def plan_of(text: str) -> CompiledPlan:
    plan = compile(schema._schema, parse(text))
    assert plan is not None
    return plan


def box(sku: str, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "units": 7, **more, "parts": [{"name": "lid"}, {"name": "ground"}]}


async def test_an_object_that_is_answered_again_is_not_looked_into_again() -> None:
    plan, boxes = plan_of(PLAIN), [Box("a", {}), Box("b", {})]
    first = await plan.run({}, Told([boxes[0]]))
    second = await plan.run({}, Told([boxes[1], None, boxes[0], boxes[0]]))
    assert json.loads(first.encode()) == {"data": {"boxes": [box("a")]}}
    assert json.loads(second.encode()) == {"data": {"boxes": [box("b"), None, box("a"), box("a")]}}
    assert second.data == {"boxes": [box("b"), None, box("a"), box("a")]}
    assert [one.looked for one in boxes] == [1, 1]


async def test_an_object_without_room_is_looked_into_each_time() -> None:
    plan, one = plan_of(PLAIN), Box("a", None)
    for _ in range(3):
        assert (await plan.run({}, Told([one]))).data == {"boxes": [box("a")]}
    assert one.looked == 3


async def test_what_resolvers_answer_is_asked_for_each_time() -> None:
    plan, one = plan_of(LABELLED), Box("a", {})
    for label in ("red", "green"):
        result = await plan.run({}, told := Told([one, one], label))
        assert result.data == {"boxes": [box("a", label=label)] * 2}
        assert json.loads(result.encode())["data"] == result.data
        assert told.asked == [2]
    assert one.looked == 2  # both objects of the first run are the same


async def test_failures_beside_what_is_kept_are_told_as_ever() -> None:
    plan, failing, one = plan_of(LABELLED), plan_of(PLAIN[:-1] + "fails }"), Box("a", {})
    for _ in range(2):
        result = await plan.run({}, Told([None, one], "torn"))
        assert result.data == {"boxes": [None, box("a", label=None)]}
        assert [error.path for error in result.errors] == [["boxes", 1, "label"]]
        result = await failing.run({}, Told([one]))
        assert result.data == {"boxes": [box("a")], "fails": None}
        assert json.loads(result.encode())["data"] == result.data


async def test_each_selection_has_a_form_of_its_own_and_few_are_kept() -> None:
    room: dict[Any, Any] = {}
    one = Box("a", room)
    for number in range(MOST_KEPT + 3):
        plan = plan_of(f"{{ boxes {{ n{number}: sku }} }}")
        for _ in range(2):
            assert (await plan.run({}, Told([one]))).data == {"boxes": [{f"n{number}": "a"}]}
    assert len(room) == MOST_KEPT


async def test_what_cannot_be_written_as_it_stands_is_not_kept() -> None:
    room: dict[Any, Any] = {}
    plan, one = plan_of("{ boxes { sku parts { name } } }"), Box("a", room)
    one.parts = [Part(None)]  # type: ignore[arg-type]  # a null where none may stand
    for _ in range(2):
        result = await plan.run({}, Told([one]))
        assert (result.data, [error.path for error in result.errors]) == (
            {"boxes": [None]},
            [["boxes", 0, "parts", 0, "name"]],
        )
    assert room == {}
