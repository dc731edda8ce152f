"""Items that each stand for themselves: one result per item, in their order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.shop.api import Answer, Problem
from sandbox.shop.state import Shop

MOST_ITEMS = 250


@dataclass(frozen=True, slots=True)
class Result:
    """An item that was carried out; `rev` is what it made."""

    rev: int


def kept_to_limit(shop: Shop, items: Sequence[object]) -> None:
    """Problem for no items or too many."""
    if not items:
        raise Problem("validation", "Send at least one item", "/items")
    if len(items) > MOST_ITEMS and "bulk.limit" not in shop.broken:
        raise Problem("payload-too-large", f"At most {MOST_ITEMS} items; POST /jobs takes more")


def carried_out(shop: Shop, tasks: Sequence[Callable[[], Result]], items: Sequence[dict[str, Any]]) -> Answer:
    """207 with what became of each."""
    results: list[dict[str, Any]] = []
    for index, (task, item) in enumerate(zip(tasks, items, strict=True)):
        stopped = "bulk.partial" in shop.broken and any(result["status"] >= 300 for result in results)
        results.append({"index": index, **one(task if not stopped else _refused, item)})
    failed = sum(result["status"] >= 300 for result in results)
    body = {"results": results, "summary": {"ok": len(results) - failed, "failed": failed}}
    return Answer(body, 200 if "bulk.status" in shop.broken else 207)


def one(task: Callable[[], Result], item: dict[str, Any]) -> dict[str, Any]:
    """What became of one item, without its place."""
    sku = item.get("sku")
    named = {"sku": sku if isinstance(sku, str) else ""}
    try:
        return {**named, "status": 200, "rev": str(task().rev)}
    except Problem as problem:
        return {**named, "status": problem.status, "problem": problem.body}


def _refused() -> Result:
    raise Problem("conflict", "An item before it failed")
