"""What plans promise beside the right answer: how often resolvers are asked, what is left to graphql-core, clean cancellation."""

from __future__ import annotations

# mypy: disable-error-code="untyped-decorator"
import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import msgspec
import pytest
import strawberry
from graphql import GraphQLSchema, build_schema, execute, parse
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from executor import UTC_DATETIME, CompiledPlan, Native, Result, batched, by_class, compile
from tests.executor import world


@dataclass(slots=True)
class Line:
    sku: str
    quantity: int


@dataclass(slots=True)
class Item:
    sku: str


class Log(list[Any]):
    """What was called, in order; it is the context of the operations here."""


async def items_of(lines: list[Line], info: Any, suffix: str = "") -> list[Item | Exception]:
    info.context.append(("items_of", len(lines), info.paths))
    return [ValueError(f"no {line.sku}") if line.sku == "bad" else Item(line.sku + suffix) for line in lines]


def short(lines: list[Line], info: Any) -> list[int]:
    return [1]


@strawberry.type(name="Item")
class ItemType:
    sku: str

    @strawberry.field(graphql_type="ItemType")
    def twin(self, root: strawberry.Parent[Item]) -> Item:
        return root


@strawberry.type(name="Line")
class LineType:
    sku: str
    quantity: int

    @strawberry.field(graphql_type=ItemType | None)
    @batched(items_of)
    async def item(self, info: strawberry.Info, root: strawberry.Parent[Line], suffix: str = "") -> Item | None:
        if root.sku == "bad":
            raise ValueError(f"no {root.sku}")
        return Item(root.sku + suffix)

    @strawberry.field
    async def one_by_one(self, info: strawberry.Info, root: strawberry.Parent[Line]) -> str:
        info.context.append(("begins", root.sku))
        await asyncio.sleep(0)
        info.context.append(("ends", root.sku))
        return root.sku

    @strawberry.field
    @batched(short)
    def number(self) -> int:
        return 1


LINES = [Line("a", 1), Line("bad", 2), Line("c", 3)]


@strawberry.type
class Forevers:
    @strawberry.field(graphql_type=list[int])
    def all(self, info: strawberry.Info) -> Any:
        return iter([_forever(info.context) for _ in range(2)])


@strawberry.type
class Query:
    @strawberry.field(graphql_type=list[LineType])
    async def lines(self) -> list[Line]:
        return LINES

    @strawberry.field
    async def forever(self, info: strawberry.Info) -> int:
        return await _forever(info.context)

    @strawberry.field
    def soon(self, info: strawberry.Info) -> int:
        return 1

    @strawberry.field(graphql_type=list[ItemType])
    def named(self, skus: list[str], later: bool = False) -> Any:
        found = [Item(sku) for sku in skus]
        return _soon(found) if later else found

    @strawberry.field(graphql_type=list[int])
    async def nothing(self) -> Any:
        return []

    @strawberry.field(graphql_type=Forevers)
    def forevers(self) -> Any:
        return Forevers()


async def _soon(found: list[Item]) -> list[Item]:
    await asyncio.sleep(0)
    return found


async def _forever(log: Log) -> int:
    log.append("waits")
    try:
        await asyncio.Event().wait()
    finally:
        log.append("ended")
    return 1


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def first(self, info: strawberry.Info, fails: bool = False) -> int:
        info.context.append("first begins")
        await asyncio.sleep(0)
        info.context.append("first ends")
        if fails:
            raise ValueError("first fails")
        return 1

    @strawberry.mutation
    async def second(self, info: strawberry.Info) -> int:
        info.context.append("second")
        return 2


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self) -> AsyncIterator[int]:
        yield 1


schema = strawberry.Schema(Query, Mutation, Subscription)


def plan_of(text: str, of: GraphQLSchema = schema._schema, **options: Any) -> CompiledPlan:
    plan = compile(of, parse(text), **options)
    assert plan is not None
    return plan


async def run(text: str, **variables: Any) -> tuple[Result, Log]:
    log = Log()
    return await plan_of(text).run(variables, log), log


async def test_a_batch_resolver_is_asked_once_and_fails_for_one_object_alone() -> None:
    result, log = await run('{ lines { sku item(suffix: "-1") { sku } } }')
    assert result.data == {
        "lines": [
            {"sku": "a", "item": {"sku": "a-1"}},
            {"sku": "bad", "item": None},
            {"sku": "c", "item": {"sku": "c-1"}},
        ]
    }
    assert [(error.message, error.path) for error in result.errors] == [("no bad", ["lines", 1, "item"])]
    assert log == [("items_of", 3, [["lines", 0, "item"], ["lines", 1, "item"], ["lines", 2, "item"]])]


async def test_a_batch_resolver_that_answers_too_few_is_an_error_of_all() -> None:
    result, _ = await run("{ lines { number } }")
    assert result.data is None
    assert "answered 1 values for 3 objects" in result.errors[0].message


async def test_ordinary_resolvers_of_a_level_are_awaited_together() -> None:
    _, log = await run("{ lines { oneByOne } }")
    assert log == [("begins", "a"), ("begins", "bad"), ("begins", "c"), ("ends", "a"), ("ends", "bad"), ("ends", "c")]


async def test_mutations_run_one_after_the_other() -> None:
    result, log = await run("mutation { first second }")
    assert (result.data, log) == ({"first": 1, "second": 2}, ["first begins", "first ends", "second"])


async def test_a_mutation_that_takes_all_data_with_it_is_the_last() -> None:
    result, log = await run("mutation { first(fails: true) second }")
    assert (result.data, log) == (None, ["first begins", "first ends"])
    assert result.encode() == (
        b'{"data":null,"errors":[{"message":"first fails","locations":[{"line":1,"column":12}],"path":["first"]}]}'
    )


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("{ all: lines { item { sku } } lines { number } }", [["all", 1, "item"], ["lines", 0, "number"]]),
        ("{ lines { number } all: lines { item { sku } } }", [["lines", 0, "number"]]),
    ],
)
async def test_failures_are_told_up_to_the_one_that_takes_all_data_with_it(text: str, paths: list[Any]) -> None:
    result, _ = await run(text)
    assert (result.data, [error.path for error in result.errors]) == (None, paths)


async def test_a_subscription_is_run_for_an_event_which_is_the_root() -> None:
    result = await plan_of("subscription { count }").run({}, Log(), 7)
    assert result.encode() == b'{"data":{"count":7}}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{ __schema { types { name } } }", "introspection"),
        ('{ soon __type(name: "Query") { name } }', "introspection"),
        ("{ ... @defer { soon } }", "@defer"),
        ("{ lines @stream { sku } }", "@stream"),
        ("query @unknown { soon }", "directive"),
    ],
)
def test_what_only_graphql_core_understands_is_left_to_it(text: str, reason: str) -> None:
    told: list[str] = []
    assert compile(schema._schema, parse(text), fell_back=told.append) is None
    assert told == [reason]


async def test_too_many_choices_are_left_to_graphql_core_and_told() -> None:
    names = [f"v{number}" for number in range(6)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: soon @include(if: ${name})" for name in names)
    told: list[str] = []
    plan = plan_of(f"query({declared}) {{ {fields} }}", fell_back=told.append)
    for number in range(2**6):
        given = {name: bool(number >> bit & 1) for bit, name in enumerate(names)}
        result = await plan.run(given, Log())
        assert result.data == {name: 1 for name in names if given[name]}
    assert told == ["choices"] * (2**6 - 16)


async def test_variables_that_cannot_be_read_run_nothing() -> None:
    result = await plan_of("mutation($fails: Boolean!) { first(fails: $fails) }").run({"fails": "no"}, log := Log())
    assert (result.executed, log) == (False, [])
    assert json.loads(result.encode()).keys() == {"errors"}


async def test_cancelled_it_leaves_no_task_behind() -> None:
    for text in ("{ forever }", "{ a: forever b: forever }", "{ a: forever lines { oneByOne } }"):
        before, log = asyncio.all_tasks(), Log()
        task = asyncio.create_task(plan_of(text).run({}, log))
        while "waits" not in log:
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) > len(before)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() <= before
        assert log.count("waits") == log.count("ended") > 0


async def test_cancelled_before_anything_began_it_warns_of_nothing() -> None:
    for turns, text in product(range(6), ("{ a: forever b: forever c: soon }", "{ nothing forevers { all } }")):
        task = asyncio.create_task(plan_of(text).run({}, Log()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Told(Exception): ...


def _living() -> int:
    gc.collect()
    return sum(isinstance(one, (Told, Struct)) for one in gc.get_objects())


async def test_runs_that_fail_or_are_cancelled_are_forgotten() -> None:
    """A failure leads to the frames that saw it, and these to the answer: a cycle that must be found."""
    plan, text = plan_of("{ must { twin { being { name } word } } }", world.schema._schema), "x" * 10
    for number in range(20):
        context = _must("word")
        context.outcomes["must"].twin.outcomes["being"] = world.Raise(Told(text))
        task = asyncio.create_task(plan.run({}, context))
        await asyncio.sleep(0)
        if number % 3 == 0:
            task.cancel()
        with suppress(asyncio.CancelledError):
            assert (await task).errors
        del task, context
        if number == 3:
            before = _living()
    assert _living() <= before


async def test_errors_and_extensions_can_be_told_in_other_words() -> None:
    result, _ = await run('{ lines { item(suffix: "") { sku } } }')
    told = json.loads(result.encode(errors=[{"message": "sorry"}], extensions={"bill": {"upstreamCalls": 1}}))
    assert (told["errors"], told["extensions"]) == ([{"message": "sorry"}], {"bill": {"upstreamCalls": 1}})
    clean, _ = await run("{ soon }")
    assert clean.encode() == b'{"data":{"soon":1}}'
    assert json.loads(clean.encode(errors=[{"message": "beside"}])) == {
        "data": {"soon": 1},
        "errors": [{"message": "beside"}],
    }


ASKED: list[Any] = []


@by_class
def is_cat(value: Any, info: Any) -> bool:
    ASKED.append(value)
    return isinstance(value, world.CatValue)


@strawberry.type
class Cat:
    lives: int
    is_type_of = is_cat


@strawberry.type
class Home:
    cats: list[Cat]


@strawberry.type
class Cats:
    @strawberry.field(graphql_type=Home)
    def home(self) -> Any:
        return world.Value(cats=[world.CatValue(lives=9) for _ in range(5)])

    @strawberry.field(graphql_type=list[Cat | None])
    def street(self) -> Any:
        return [world.CatValue(lives=1), world.DogValue(lives=1), world.CatValue(lives=2)]


async def test_is_type_of_by_class_is_asked_once_per_class() -> None:
    plan = plan_of("{ home { cats { lives } } street { lives } }", strawberry.Schema(Cats)._schema)
    ASKED.clear()
    result = await plan.run()
    assert result.data == {"home": {"cats": [{"lives": 9}] * 5}, "street": [{"lives": 1}, None, {"lives": 2}]}
    assert [error.message for error in result.errors] == ["Expected value of type 'Cat' but got: <DogValue instance>."]
    ASKED.clear()
    assert (await plan.run()).data == result.data
    assert {type(one) for one in ASKED} == {world.DogValue}


async def test_a_schema_without_strawberry_runs_too() -> None:
    plain = build_schema("type Query { a: String! b(n: Int = 2): [Int!] c: Query }")
    root: dict[str, Any] = {
        "a": "x",
        "b": lambda info, n: [n, info.path.as_list() == ["c", "b"]],
        "c": lambda info: root,
    }
    text = "query($n: Int) { a c { b(n: $n) __typename } b }"
    theirs: Any = execute(plain, parse(text), root, variable_values={"n": 5})
    ours = await plan_of(text, plain).run({"n": 5}, None, root)
    assert (ours.data, ours.errors) == (theirs.data, [])


async def test_every_run_reads_its_own_variables() -> None:
    plan = plan_of("query($suffix: String!) { lines { item(suffix: $suffix) { sku } } }")
    first, second = await asyncio.gather(plan.run({"suffix": "1"}, Log()), plan.run({"suffix": "2"}, Log()))
    assert first.data is not None
    assert second.data is not None
    assert (first.data["lines"][0], second.data["lines"][0]) == ({"item": {"sku": "a1"}}, {"item": {"sku": "a2"}})


async def test_variables_that_were_read_once_serve_runs_of_their_own_plan_alone() -> None:
    text = "query($skus: [String!]!) { named(skus: $skus) { sku } }"
    plan, other = plan_of(text), plan_of(text)
    read = plan.read({"skus": ["a", "b"]})
    runs = [plan.begin(read=read), plan.begin({"skus": ["c"]}, read=read), other.begin({"skus": ["c"]}, read=read)]
    told = [one.data["named"] for one in runs if isinstance(one, Result) and one.data is not None]
    assert told == [[{"sku": "a"}, {"sku": "b"}]] * 2 + [[{"sku": "c"}]]
    refused = plan.begin({"skus": ["c"]}, read=plan.read({}))
    assert isinstance(refused, Result)
    assert (refused.executed, len(refused.errors)) == (False, 1)


async def test_what_need_not_be_awaited_is_answered_at_once() -> None:
    text = 'query($later: Boolean!) { named(skus: ["a"], later: $later) { sku twin { sku } } }'
    plan, told = plan_of(text), {"named": [{"sku": "a", "twin": {"sku": "a"}}]}
    result = plan.begin({"later": False})
    assert isinstance(result, Result)
    assert (result.data, result.errors) == (told, [])
    begun = plan.begin({"later": True})
    assert not isinstance(begun, Result)
    assert (await begun).data == told


async def test_a_wrong_class_is_no_slower_way_to_a_wrong_answer() -> None:
    """Texts that are not quite str are written as such, by the bytes as well."""
    made = await plan_of("{ must { word twin { word } } }", world.schema._schema).run({}, _must(world.Word("w")))
    assert made.encode() == b'{"data":{"must":{"word":"w","twin":{"word":"w"}}}}'


def _must(word: str) -> world.Value:
    context = world.Value()
    context.outcomes["must"] = world.Value(word=word, twin=world.Value(word=word))
    return context


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))])))
def test_the_encoder_writes_native_times_as_their_scalar_does(value: datetime) -> None:
    native: Native = UTC_DATETIME
    if eval(native.check.format(value="value"), {"value": value, **native.names}):
        assert msgspec.json.encode(value) == f'"{world.write_time(value)}"'.encode()


def test_an_unknown_operation_is_none() -> None:
    text = parse("query A { soon } query B { soon }")
    assert compile(schema._schema, text, "C") is None
    assert compile(schema._schema, text, "B") is not None
