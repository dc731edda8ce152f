"""Loaders, asked for many keys at once."""

from __future__ import annotations

from aiodataloader import DataLoader

from resolvers.loaders import load_each


async def test_each_key_has_its_own_value_or_failure_and_is_asked_for_once() -> None:
    asked: list[list[str]] = []
    gone = LookupError("b is gone")

    async def load(keys: list[str]) -> list[str | LookupError]:
        asked.append(keys)
        return [gone if key == "b" else key.upper() for key in keys]

    loader: DataLoader[str, str | LookupError] = DataLoader(load)
    assert await load_each(loader, ["a", None, "b", "a", "c"]) == ["A", None, gone, "A", "C"]
    assert await load_each(loader, ["c"]) == ["C"]
    assert await load_each(loader, []) == []
    assert asked == [["a", "b", "c"]]
