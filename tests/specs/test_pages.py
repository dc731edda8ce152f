"""The pages of this folder, run against the whole house: query, answer, and what it cost at the platforms."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.whole import Whole, whole_house

ANYTHING = "…"


@dataclass(frozen=True)
class Spec:
    """One section of a page."""

    page: str
    title: str
    query: str
    answer: str
    upstream: str


def read(page: Path) -> list[Spec]:
    """The sections of a page."""
    specs = []
    for part in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        blocks = dict(re.findall(r"```(graphql|json|upstream)\n(.*?)```", part, re.DOTALL))
        specs.append(Spec(page.stem, part.partition("\n")[0], blocks["graphql"], blocks["json"], blocks["upstream"]))
    return specs


SPECS = [spec for page in sorted(Path(__file__).parent.glob("*.md")) for spec in read(page)]


@pytest.fixture(scope="module")
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    async with whole_house(new_database(), redis_url, tmp_path_factory.mktemp("specs"), products=60, orders=40) as made:
        yield made


@pytest.fixture(scope="module")
async def names(whole: Whole) -> dict[str, str]:
    """What the pages call the SKUs of this world."""
    told = [one for one in (await whole.amazon.get("world"))["skus"] if one["fulfilledBy"] == "AMAZON"]
    groups = {"US": [one for one in told if one["marketplaces"] == ["US"]]}
    groups["EVERYWHERE"] = [one for one in told if len(one["marketplaces"]) == 4]
    return {f"${name}_{at}": one["sku"] for name, group in groups.items() for at, one in enumerate(group, 1)}


def told(text: str, names: dict[str, str]) -> str:
    """The text with this world's SKUs."""
    return re.sub(r"\$\w+", lambda match: names.get(match[0], match[0]), text)


def agrees(expected: Any, found: Any, names: dict[str, str]) -> bool:
    """Equal, but for what the page leaves open; a name of the page that is new is what is found there."""
    if expected == ANYTHING:
        return found is not None
    if isinstance(expected, str) and isinstance(found, str) and re.fullmatch(r"\$\w+", expected):
        return names.setdefault(expected, found) == found
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(agrees(expected[key], found[key], names) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(agrees(*pair, names) for pair in zip(expected, found, strict=True))
    return bool(expected == found)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.page}: {spec.title}")
async def test_a_page_says_the_truth(whole: Whole, names: dict[str, str], spec: Spec) -> None:
    marks = {"amazon": await whole.amazon.mark(), "shop": await whole.shop.mark()}
    data = await whole.data(told(spec.query, names))
    assert agrees(json.loads(told(spec.answer, names)), data, names), json.dumps(data, indent=1)
    calls: Counter[str] = Counter()
    for name, platform in (("amazon", whole.amazon), ("shop", whole.shop)):
        calls.update(f"{name} {call['operation']}" for call in await platform.calls(marks[name]))
    assert [f"{call} {count}" for call, count in sorted(calls.items())] == spec.upstream.splitlines()


def test_agreement_sees_a_difference() -> None:
    names: dict[str, str] = {}
    assert agrees({"a": [1, ANYTHING]}, {"a": [1, "x"]}, names)
    assert agrees(["$one", "$one", "$two"], ["x", "x", "y"], names)
    assert names == {"$one": "x", "$two": "y"}
    assert not agrees("$one", "y", names)
    others: list[Any] = [{"a": [1]}, {"a": [2, "x"]}, {"a": [1, None]}, {"a": [1, "x"], "b": 1}, []]
    assert not any(agrees({"a": [1, ANYTHING]}, other, names) for other in others)
