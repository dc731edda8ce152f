"""A schema with every kind of field, a world of values with faults in it, and operations over both, all drawn from one seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Annotated, Any, Union

import strawberry
from strawberry.schema.config import StrawberryConfig

from executor import batched, by_class, lasting


class Color(Enum):
    RED = "red"
    GREEN = "green"
    BLUE = "BLUE"


class Word(str):
    """A text that is not quite a str."""


class Boom(Exception):
    """What resolvers raise. It carries extensions as errors of the house do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.extensions = {"code": "BOOM"}


class Likeness(Boom):
    """An error that has the attributes of a thing and of a being."""

    word = text = name = "likeness"
    size = lives = 1
    mood = color = flag = None

    def __init__(self) -> None:
        super().__init__("an error that looks like an object")


@dataclass
class Raise:
    """An outcome that is an exception."""

    error: Exception


class Value:
    """One object of the world: attributes for fields that are read, outcomes for those that are resolved."""

    outcomes: dict[str, Any]

    def __init__(self, **attributes: Any) -> None:
        self.outcomes = {}
        self.__dict__.update(attributes)

    @property
    def broken(self) -> str:
        raise Boom("a property broke")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class CatValue(Value): ...


class DogValue(Value): ...


class FoxValue(Value): ...


def outcome(source: Value, name: str) -> Any:
    """What a resolver of `name` gives or raises."""
    found = source.outcomes.get(name)
    if isinstance(found, Raise):
        raise found.error
    return found


def path_text(path: list[str | int]) -> str:
    return "/".join(map(str, path))


strawberry.enum(Color)


@strawberry.input
class Filter:
    word: str | None = None
    color: Color = Color.GREEN
    sizes: list[int] | None = None


@strawberry.interface
class Being:
    name: str
    mood: Color | None


def _is_cat(value: Any, info: Any) -> bool:
    return isinstance(value, CatValue)


@strawberry.type
class Cat(Being):
    lives: int
    is_type_of = by_class(_is_cat)

    @strawberry.field
    async def prey(
        self, root: strawberry.Parent[Any]
    ) -> list[Annotated[Thing, strawberry.lazy("tests.executor.world")]]:
        return outcome(root, "prey")  # type: ignore[no-any-return]


@strawberry.type
class Dog(Being):
    owner: Annotated[Thing, strawberry.lazy("tests.executor.world")] | None

    @classmethod
    def is_type_of(cls, value: Any, info: Any) -> bool:
        return isinstance(value, DogValue)


async def _is_fox(value: Any, info: Any) -> bool:
    await asyncio.sleep(0)
    if getattr(value, "sly", None) == 0.5:
        raise Boom("who is that?")
    return isinstance(value, FoxValue)


@strawberry.type
class Fox(Being):
    sly: bool | None
    is_type_of = _is_fox


def _batch(name: str) -> Callable[..., Any]:
    def batch(parents: list[Value], info: Any, **arguments: Any) -> list[Any]:
        found = []
        for parent in parents:
            try:
                found.append(outcome(parent, name))
            except Exception as problem:
                found.append(problem)
        return found

    return batch


async def _paths(parents: list[Value], info: Any) -> list[str]:
    return [path_text(path) for path in info.paths]


@lasting("room")
@strawberry.type
class Thing:
    text: str | None
    word: str
    ident: strawberry.ID | None
    count: int | None
    size: int
    ratio: float | None
    weight: float
    flag: bool | None
    sure: bool
    color: Color | None
    hue: Color
    at: datetime | None
    since: datetime
    price: Decimal | None
    tags: list[str] | None
    labels: list[str | None]
    grid: list[list[int | None]] | None
    child: Thing | None
    twin: Thing
    children: list[Thing] | None
    kids: list[Thing | None]
    cat: Cat | None
    best: Being | None
    broken: str | None

    @strawberry.field
    def quick(self, root: strawberry.Parent[Any], n: int = 3, color: Color | None = Color.RED) -> str | None:
        found = outcome(root, "quick")
        return f"{found} {n} {color}" if isinstance(found, str) else found

    @strawberry.field
    async def slow(
        self, root: strawberry.Parent[Any], filter: Filter | None = None, words: list[str] | None = None
    ) -> int:
        await asyncio.sleep(0)
        found = outcome(root, "slow")
        size = len(filter.sizes or ()) + len(filter.word or "") if filter else 0
        return found + size + len(words or ()) if type(found) is int else found

    @strawberry.field
    def where(self, info: strawberry.Info) -> str:
        return path_text(info.path.as_list())

    @strawberry.field
    @batched(_paths)
    async def there(self, info: strawberry.Info) -> str:
        return path_text(info.path.as_list())

    @strawberry.field
    @batched(_batch("found"))
    async def found(self, root: strawberry.Parent[Any]) -> Thing | None:
        await asyncio.sleep(0)
        return outcome(root, "found")  # type: ignore[no-any-return]

    @strawberry.field
    @batched(_batch("many"))
    def many(self, root: strawberry.Parent[Any], first: int | None = None) -> list[Thing]:
        return outcome(root, "many")  # type: ignore[no-any-return]

    @strawberry.field
    async def being(self, root: strawberry.Parent[Any]) -> Being | None:
        return outcome(root, "being")  # type: ignore[no-any-return]

    @strawberry.field
    def beings(self, root: strawberry.Parent[Any]) -> list[Being | None] | None:
        return outcome(root, "beings")  # type: ignore[no-any-return]

    @strawberry.field
    def pets(self, root: strawberry.Parent[Any]) -> list[Pet]:
        return outcome(root, "pets")  # type: ignore[no-any-return]


Pet = Annotated[Union[Cat, Dog], strawberry.union("Pet")]  # noqa: UP007


@strawberry.type
class Query:
    @strawberry.field
    async def thing(self, info: strawberry.Info) -> Thing | None:
        return outcome(info.context, "thing")  # type: ignore[no-any-return]

    @strawberry.field
    def must(self, info: strawberry.Info) -> Thing:
        return outcome(info.context, "must")  # type: ignore[no-any-return]

    @strawberry.field
    def row(self, info: strawberry.Info, n: int = 3) -> list[Thing | None] | None:
        return outcome(info.context, "row")  # type: ignore[no-any-return]

    @strawberry.field
    async def things(self, info: strawberry.Info, skip: int = 0) -> list[Thing | None]:
        return outcome(info.context, "things")  # type: ignore[no-any-return]

    @strawberry.field
    def beings(self, info: strawberry.Info) -> list[Being]:
        return outcome(info.context, "beings")  # type: ignore[no-any-return]


def write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _write_decimal(value: Decimal) -> str | None:
    return None if value.is_nan() else f"{value:f}"


_CONFIG: dict[str, Any] = {
    "scalar_map": {
        datetime: strawberry.scalar(name="DateTime", serialize=write_time, parse_value=datetime.fromisoformat),
        Decimal: strawberry.scalar(name="Decimal", serialize=_write_decimal, parse_value=Decimal),
    }
}
schema = strawberry.Schema(Query, types=[Cat, Dog, Fox], config=StrawberryConfig(**_CONFIG))


class World:
    """Values for every field. One in `1 / faults` is not what the schema says."""

    def __init__(self, random: Random, faults: float) -> None:
        self.random = random
        self.faults = faults
        self.things: dict[int, list[Any]] = {}

    def context(self) -> Value:
        context = Value()
        context.outcomes = {
            "thing": self.resolved(lambda: self.thing(3)),
            "must": self.resolved(lambda: self.thing(3)),
            "things": self.resolved(
                lambda: [self.maybe(lambda: self.thing(2)) for _ in range(self.random.randrange(4))]
            ),
            "row": self.resolved(lambda: self.many(lambda: self.maybe(lambda: self.thing(2)))),
            "beings": self.resolved(lambda: [self.being(2) for _ in range(self.random.randrange(4))]),
        }
        return context

    def resolved(self, make: Callable[[], Any]) -> Any:
        """The outcome of a resolver: a value, now and then an exception, raised or answered."""
        if self.random.random() < self.faults / 3:
            return self.random.choice([Raise(Boom("it broke")), Boom("an answer that is an error"), None, 7, object()])
        return make()

    def maybe(self, make: Callable[[], Any]) -> Any:
        return None if self.random.random() < 0.15 else make()

    def odd(self, make: Callable[[], Any], *others: Any) -> Any:
        """What an attribute holds: a value, now and then another."""
        if self.random.random() < self.faults / 3:
            usual = [None, Boom("a value that is an error"), Likeness(), object(), [], {}, "x", 3]
            return self.random.choice(others if others and self.random.random() < 0.5 else usual)
        return make()

    def many(self, make: Callable[[], Any]) -> Any:
        items = [self.odd(make) for _ in range(self.random.randrange(4))]
        return self.random.choice([list, list, list, tuple])(items)

    def being(self, depth: int) -> Any:
        kind = self.random.choice([CatValue, CatValue, DogValue, FoxValue])
        made: Any = kind(
            name=self.odd(lambda: "Tom"), mood=self.odd(lambda: self.maybe(lambda: Color.RED), "red", "pink")
        )
        made.lives = self.odd(lambda: 9, 2**40)
        made.owner = self.odd(lambda: self.maybe(lambda: self.thing(depth - 1)) if depth > 0 else None)
        made.sly = self.odd(lambda: True, 1, 0.5)
        made.outcomes["prey"] = self.resolved(lambda: self.many(lambda: self.thing(depth - 1)) if depth > 0 else [])
        return made

    def pet(self, depth: int) -> Any:
        while isinstance(made := self.being(depth), FoxValue) and self.random.random() > self.faults:
            pass
        return made

    def thing(self, depth: int) -> Any:
        """One of the few things of a depth; all values of a world are drawn from few, else it would grow without end."""
        things = self.things.setdefault(depth, [])
        if len(things) < 3:
            things.append(None)
            things[-1] = self.new_thing(depth)
        return self.random.choice(things)

    def new_thing(self, depth: int) -> Any:
        random, odd, maybe = self.random, self.odd, self.maybe
        zone = timezone(timedelta(hours=2))
        now = datetime(2026, 5, 1, 12, 30, 0, random.choice([0, 5, 120_000]), UTC)

        def below() -> Any:
            return self.thing(depth - 1) if depth > 0 else None

        made = Value(
            text=odd(lambda: maybe(lambda: "téxt"), Word("word"), 4.5, True, b"x"),
            word=odd(lambda: "word", Word("word"), 12),
            ident=odd(lambda: maybe(lambda: "id"), 17, 1.0),
            count=odd(lambda: maybe(lambda: random.randrange(-5, 2**31)), True, 1.0, 1.5, 2**31, "12"),
            size=odd(lambda: random.randrange(100), False, -(2**31), -(2**31) - 1),
            ratio=odd(lambda: maybe(random.random), 1, True, float("nan"), float("inf"), "1.5", 10**400),
            weight=odd(lambda: 2.5, 3, Decimal("1.5")),
            flag=odd(lambda: maybe(lambda: True), 1, 0.0, float("nan"), "yes"),
            sure=odd(lambda: False, 1),
            color=odd(lambda: maybe(lambda: random.choice(list(Color))), "red", "BLUE", "pink"),
            hue=odd(lambda: random.choice(list(Color)), "green"),
            at=odd(
                lambda: maybe(lambda: random.choice([now, now.astimezone(zone)])), now.date(), now.replace(tzinfo=None)
            ),
            since=odd(lambda: now, "2026-05-01"),
            price=odd(lambda: maybe(lambda: Decimal("1E+3")), 12, Decimal("NaN")),
            tags=odd(lambda: maybe(lambda: self.many(lambda: "tag")), {"one"}, "tag", ("a", "b")),
            labels=odd(lambda: self.many(lambda: maybe(lambda: "label"))),
            grid=odd(lambda: maybe(lambda: [self.many(lambda: maybe(lambda: 5)) for _ in range(2)])),
            child=odd(lambda: maybe(below) if depth > 0 else None),
            twin=odd(below),
            children=odd(lambda: maybe(lambda: self.many(below)) if depth > 0 else []),
            kids=odd(lambda: self.many(lambda: maybe(below)) if depth > 0 else []),
            cat=odd(lambda: maybe(lambda: self.being(depth - 1)) if depth > 0 else None),
            best=odd(lambda: maybe(lambda: self.being(depth - 1)) if depth > 0 else None),
            room={} if random.random() < 0.5 else None,
        )
        if random.random() < self.faults / 8:
            del made.__dict__[random.choice(list(made.__dict__))]
            made.outcomes = {}
        made.outcomes |= {
            "quick": self.resolved(lambda: "quick"),
            "slow": self.resolved(lambda: 5),
            "found": self.resolved(lambda: maybe(below)),
            "many": self.resolved(lambda: self.many(below) if depth > 0 else []),
            "being": self.resolved(lambda: self.being(depth - 1) if depth > 0 else None),
            "beings": self.resolved(lambda: self.many(lambda: self.being(depth - 1)) if depth > 0 else []),
            "pets": self.resolved(lambda: self.many(lambda: self.pet(depth - 1)) if depth > 0 else []),
        }
        return made


THING = """text word ident count size ratio weight flag sure color hue at since price tags labels grid broken where there
quick slow"""
_LEAVES = {
    "Thing": THING.split(),
    "Being": ["name", "mood"],
    "Cat": ["name", "mood", "lives"],
    "Dog": ["name", "mood"],
    "Fox": ["name", "mood", "sly"],
    "Pet": [],
    "Query": [],
}
_BRANCHES = {
    "Thing": {
        **dict.fromkeys(["child", "twin", "children", "kids", "found", "many"], "Thing"),
        "cat": "Cat",
        "best": "Being",
        "being": "Being",
        "beings": "Being",
        "pets": "Pet",
    },
    "Being": {},
    "Cat": {"prey": "Thing"},
    "Dog": {"owner": "Thing"},
    "Fox": {},
    "Pet": {},
    "Query": {"thing": "Thing", "must": "Thing", "row": "Thing", "things": "Thing", "beings": "Being"},
}
_INSIDE = {"Being": ["Cat", "Dog", "Fox", "Being"], "Pet": ["Cat", "Dog", "Being"]}
# Each key has one meaning in a document, so that fields merge.
_ARGUMENTS = {
    "quick": ["", "(n: 4)", "(n: $n)", "(color: BLUE)", "(color: $color, n: 1)", "(color: null)"],
    "slow": ["", "(filter: {word: $word})", "(filter: $filter)", "(words: $words)", '(words: "one")', "(filter: null)"],
    "many": ["", "(first: $n)", "(first: 2)"],
    "things": ["", "(skip: 1)"],
    "row": ["", "(n: 4)", "(n: $n)"],
}
_DIRECTIVES = [
    "@include(if: $yes)",
    "@skip(if: $no)",
    "@skip(if: $yes)",
    "@include(if: true)",
    "@skip(if: false) @include(if: $yes)",
]
_VARIABLES = "$yes: Boolean!, $no: Boolean = false, $n: Int = 7, $color: Color, $word: String, $filter: Filter, $words: [String!]"


class Writer:
    """Writes an operation."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.fragments: list[str] = []

    def document(self) -> str:
        body = self.selection("Query", self.random.choice([2, 3, 3, 4]))
        return f"query({_VARIABLES}) {body} " + " ".join(self.fragments)

    def variables(self) -> dict[str, Any]:
        random = self.random
        given: dict[str, Any] = {"yes": random.random() < 0.7}
        choices: dict[str, list[Any]] = {
            "no": [True, False],
            "n": [1, 2, None, 2.0],
            "color": ["RED", "BLUE", None],
            "word": ["w", None],
            "filter": [{"word": "abc"}, {"sizes": [1, 2]}, {"color": "RED", "sizes": 3}, None],
            "words": [["a", "b"], [], None, "c"],
        }
        for name, values in choices.items():
            if random.random() < 0.6:
                given[name] = random.choice(values)
        if random.random() < 0.02:
            given[random.choice(["n", "color", "filter", "yes"])] = random.choice(["nonsense", {"x": 1}, 2**40])
        return given

    def directive(self) -> str:
        if self.random.random() > 0.15:
            return ""
        return self.random.choice(_DIRECTIVES)

    def selection(self, type_: str, depth: int) -> str:
        random = self.random
        parts = []
        leaves, branches = _LEAVES[type_], _BRANCHES[type_]
        for _ in range(random.randrange(1, 6)):
            draw = random.random()
            if draw < 0.08:
                parts.append(random.choice(["__typename", "kind: __typename"]) + " " + self.directive())
            elif draw < 0.22:
                parts.append(self.fragment(type_, depth))
            elif branches and depth > 0 and (draw < 0.5 or not leaves):
                name = random.choice(list(branches))
                parts.append(f"{self.key(name)} {self.directive()} {self.selection(branches[name], depth - 1)}")
            elif leaves:
                parts.append(f"{self.key(random.choice(leaves))} {self.directive()}")
        return "{ " + " ".join(parts or ["__typename"]) + " }"

    def key(self, name: str) -> str:
        number = self.random.randrange(len(_ARGUMENTS.get(name, [""])))
        arguments = _ARGUMENTS.get(name, [""])[number]
        if number == 0:
            return self.random.choice([name, name, f"alias_{name}: {name}"])
        return f"{name}_{number}: {name}{arguments}"

    def fragment(self, type_: str, depth: int) -> str:
        condition = self.random.choice([*_INSIDE.get(type_, [type_]), type_])
        body = self.selection(condition, depth - 1 if depth > 0 else 0)
        draw = self.random.random()
        if draw < 0.3:
            return f"... {self.directive()} {self.selection(type_, max(depth - 1, 0))}"
        if draw < 0.7:
            return f"... on {condition} {self.directive()} {body}"
        name = f"Part{len(self.fragments)}"
        self.fragments.append(f"fragment {name} on {condition} {body}")
        return f"...{name} {self.directive()}"
