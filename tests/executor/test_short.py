"""The short way: what is at hand is answered without a step, and whatever is unusual as if there were no such way."""

from __future__ import annotations

# mypy: disable-error-code="untyped-decorator"
import asyncio
import gc
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any

import pytest
import strawberry
from graphql import GraphQLSchema, parse

from executor import UTC_DATETIME, CompiledPlan, Result, compile, steps
from schema.root import schema as public
from tests.executor import test_differential as differential
from tests.executor import world
from tests.executor.test_differential import GRAPHQL, ODD, UNAWAITED
from tests.executor.world import Boom, Likeness, Raise, Value

FIELDS = "word text size hue tags child { word } kids { word }"
ROW = f"{{ row {{ {FIELDS} }} }}"


class Step(steps.Step):
    """Counts how many there were."""

    __slots__ = ()
    made = 0

    def __init__(self, *arguments: Any) -> None:
        Step.made += 1
        super().__init__(*arguments)


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    Step.made = 0
    monkeypatch.setattr(steps, "Step", Step)


def plan_of(text: str, schema: GraphQLSchema = GRAPHQL) -> CompiledPlan:
    plan = compile(schema, parse(text), natives={"DateTime": UTC_DATETIME})
    assert plan is not None
    return plan


def things(count: int) -> list[Value]:
    made = world.World(Random(1), 0.0)
    return [made.new_thing(1) for _ in range(count)]


def context(outcome: Any) -> Value:
    made = Value()
    made.outcomes |= {"row": outcome, "must": outcome}
    return made


async def answered(text: str, outcome: Any, **variables: Any) -> Result:
    """What is answered, to which graphql-core's answer is equal."""
    theirs = await differential.by_graphql_core(parse(text), variables, context(outcome))
    begun = plan_of(text).begin(variables, context(outcome))
    ours = begun if isinstance(begun, Result) else await begun
    differential.check_same(theirs, ours)
    return ours


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (ROW, {}),
        (f"{{ kept: row(n: 4) {{ is: __typename same: word {FIELDS} }} }}", {}),
        (f"query($n: Int) {{ ...All }} fragment All on Query {{ row(n: $n) {{ {FIELDS} }} }}", {"n": 7}),
        (f"query($yes: Boolean!) {{ row @include(if: $yes) {{ sure @skip(if: $yes) {FIELDS} }} }}", {"yes": True}),
        (f"query($no: Boolean!) {{ beings @include(if: $no) {{ name }} row {{ {FIELDS} }} }}", {"no": False}),
    ],
    ids=["plain", "aliases", "fragment", "include", "alone under these variables"],
)
async def test_objects_at_hand_are_answered_without_a_step(text: str, variables: dict[str, Any]) -> None:
    for count in (0, 1, 3):
        assert (await answered(text, things(count), **variables)).errors == []
    assert Step.made == 0


async def test_one_object_at_hand_is_answered_without_a_step() -> None:
    assert (await answered(f"{{ must {{ {FIELDS} }} }}", things(1)[0])).errors == []
    assert Step.made == 0


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (f"{{ row {{ {FIELDS} }} must {{ word }} }}", {}),
        (f"{{ __typename row {{ {FIELDS} }} }}", {}),
        ("{ row { word quick } }", {}),
        ("{ row { word child { where } } }", {}),
        (f"query($n: Int) {{ row(n: $n) {{ {FIELDS} }} }}", {"n": None}),
        (f"query($yes: Boolean!) {{ row @skip(if: $yes) {{ {FIELDS} }} }}", {"yes": True}),
    ],
    ids=["two fields", "a constant", "a resolver below", "a resolver far below", "a null for an Int!", "nothing"],
)
async def test_all_else_is_answered_as_before(text: str, variables: dict[str, Any]) -> None:
    await answered(text, things(2), **variables)


def test_stock_has_the_short_way_as_long_as_nothing_but_stock_is_asked_for() -> None:
    told = "stock(skus: $skus) { sku availableToSell levels { location { code } onHand } explanation { label quantity } %s }"
    text = f"query Told($skus: [String!]!) {{ {told} }}"
    choices = [plan_of(text % below, public._schema)._only for below in ("asOf", "product { title }")]
    assert [one is not None and one.short is not None for one in choices] == [True, False]


UNUSUAL: dict[str, Any] = {
    "raises": Raise(Boom("it broke")),
    "raises what looks like objects": Raise(Likeness()),
    "an exception": Boom("an answer that is an error"),
    "null": None,
    "no list": 7,
    "a tuple": tuple(things(2)),
    "a set": {1},
    "a null inside": [things(1)[0], None],
    "a failure inside": [things(1)[0], Boom("this one alone"), things(1)[0]],
    "a failure that looks like an object": [Likeness()],
    "no object inside": [things(1)[0], 7],
    "a list inside": [things(1)],
    "a value that is none": [Value(word="w")],
    "a property that breaks": [type("Torn", (Value,), {"word": Value.broken})()],
}


@UNAWAITED
@pytest.mark.parametrize("outcome", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("text", [ROW, f"{{ kept: row {{ {FIELDS} }} }}", f"{{ must {{ {FIELDS} }} }}"])
async def test_what_is_unusual_is_answered_like_graphql_core(text: str, outcome: Any) -> None:
    await answered(text, outcome)
    assert Step.made > 0


@UNAWAITED
@pytest.mark.parametrize("name", ["word", "text", "size", "hue", "at", "tags", "grid", "child", "kids", "cat"])
async def test_every_odd_value_below_is_answered_like_graphql_core(name: str) -> None:
    below = {"child": "{ word }", "kids": "{ word }", "cat": "{ lives }"}.get(name, "")
    for value in ODD:
        (odd,) = things(1)
        setattr(odd, name, value)
        try:
            await answered(f"{{ row {{ {name} {below} word }} }}", [*things(1), odd, *things(1)])
        except BaseException as problem:
            raise AssertionError(f"{name} = {value!r}") from problem


class Asked:
    """The context of what follows: how often the resolver was asked, and what it answers."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.count = 0


@strawberry.type
class Named:
    name: str


@strawberry.type
class Query:
    @strawberry.field(graphql_type=list[Named | None])
    def named(self, info: strawberry.Info, names: list[str]) -> Any:
        info.context.count += 1
        return info.context.answer(info)


SCHEMA = strawberry.Schema(Query)._schema
NAMED = "query Told($names: [String!]!) { kept: named(names: $names) { name } }"


async def told(info: strawberry.Info) -> list[Named | None]:
    """Where the field stands, looked up when something was waited for."""
    await asyncio.sleep(0)
    return [Named(name=f"{info.path.as_list()} of {info.operation_name}"), None]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer",
    [lambda info: told(info), lambda info: [_failed(), Named(name="b")], lambda info: 1 / 0, lambda info: "text"],
    ids=["awaited", "awaited inside", "raised", "no list"],
)
async def test_a_resolver_is_asked_once_whatever_comes_of_it(answer: Any) -> None:
    plan, asked = plan_of(NAMED, SCHEMA), Asked(answer)
    result = await plan.run({"names": ["a"]}, asked)
    assert asked.count == 1
    assert (result.data is None) or [one and one["name"] for one in result.data["kept"]] in (
        ["['kept'] of None", None],
        [None, "b"],
    )


async def _failed() -> Named:
    raise ValueError("this one alone")


async def test_what_a_resolver_awaits_stands_where_it_stood() -> None:
    asked = Asked(lambda info: _places(info))
    result = await plan_of(NAMED, SCHEMA).run({"names": ["a"]}, asked)
    assert (result.data, result.errors) == ({"kept": [{"name": "kept"}, {"name": "{'names': ['a']}"}]}, [])


async def _places(info: strawberry.Info) -> list[Named]:
    await asyncio.sleep(0)
    return [Named(name="/".join(map(str, info.path.as_list()))), Named(name=repr(info.variable_values))]


async def test_what_is_to_be_awaited_beside_the_answer_is_awaited() -> None:
    ended: list[str] = []

    async def beside() -> None:
        await asyncio.sleep(0)
        ended.append("beside")

    def answer(info: strawberry.Info) -> list[Named]:
        info._raw_info.async_helpers.track([beside()])
        return [Named(name="a")]

    begun = plan_of(NAMED, SCHEMA).begin({"names": ["a"]}, Asked(answer))
    assert not isinstance(begun, Result)
    assert (await begun).data == {"kept": [{"name": "a"}]}
    assert ended == ["beside"]


@pytest.mark.filterwarnings("error")
async def test_a_cancellation_leaves_nothing_to_be_awaited() -> None:
    def answer(info: strawberry.Info) -> list[Named]:
        info._raw_info.async_helpers.track([_failed()])
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        plan_of(NAMED, SCHEMA).begin({"names": ["a"]}, Asked(answer))
    gc.collect()


class Watched:
    """Watches levels, and notes in what order what happens."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def __call__(self, level: Sequence[tuple[str, int]]) -> Watched:
        self.seen.append(level)
        return self

    def answer(self, named: list[Named]) -> list[Named]:
        self.seen.append("asked")
        return named

    def enter(self) -> None:
        self.seen.append("entered")

    def leave(self, before: None) -> None:
        self.seen.append("left")

    def end(self) -> None:
        self.seen.append("ended")

    def __enter__(self) -> Watched:
        self.enter()
        return self

    def __exit__(self, *failure: object) -> None:
        self.leave(None)
        self.end()


async def test_who_watches_is_told_of_each_level() -> None:
    watched = Watched()
    plan, asked = plan_of(NAMED, SCHEMA), Asked(lambda info: watched.answer([Named(name="a")]))
    assert (await plan.run({"names": ["a"]}, asked)).data == {"kept": [{"name": "a"}]}
    assert watched.seen == ["asked"]
    watched.seen.clear()
    begun = plan.begin({"names": ["a"]}, asked, watch=watched)
    assert isinstance(begun, Result), "at once, as without"
    assert begun.data == {"kept": [{"name": "a"}]}
    assert watched.seen == [[("Query.named", 1)], "entered", "asked", "left", "ended"]


async def test_a_level_that_has_to_wait_lasts_until_it_has() -> None:
    watched, gate = Watched(), asyncio.Event()

    async def later() -> list[Named]:
        await gate.wait()
        return watched.answer([Named(name="a")])

    work = plan_of(NAMED, SCHEMA).run({"names": ["a"]}, Asked(lambda info: later()), watch=watched)
    running = asyncio.create_task(work)
    await asyncio.sleep(0)
    assert watched.seen == [[("Query.named", 1)], "entered", "left", "entered"]
    gate.set()
    assert (await running).data == {"kept": [{"name": "a"}]}
    assert watched.seen[4:] == ["asked", "left", "ended"]


def driven(work: Coroutine[Any, Any, Result]) -> Result:
    """What comes of it where it waits for nothing but its next turn: nobody else of this process has one meanwhile."""
    try:
        while True:
            work.send(None)
    except StopIteration as end:
        made: Result = end.value
        return made


@pytest.mark.parametrize(
    ("text", "answer", "fails"),
    [
        (NAMED, lambda info: [Named(name="a")], False),
        (f"{NAMED[:-1]} more: named(names: []) {{ name }} }}", lambda info: [Named(name="a")], False),
        (NAMED, lambda info: _places(info), False),
        (NAMED, lambda info: 1 / 0, True),  # an exception and its frames hold each other
    ],
    ids=["the short way", "steps", "awaited", "failing"],
)
def test_runs_that_did_not_fail_leave_nothing_to_the_collector(text: str, answer: Any, fails: bool) -> None:
    plan, asked = plan_of(text, SCHEMA), Asked(answer)
    driven(plan.run({"names": ["a"]}, asked))
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            assert bool(driven(plan.run({"names": ["a"]}, asked)).errors) == fails
        assert (gc.collect() > 0) == fails
    finally:
        gc.enable()
