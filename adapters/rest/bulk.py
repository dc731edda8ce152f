"""Bulk writes: one result per item (207), each item for itself. Sources: patchStock and patchVariants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from adapters.port import BeforeSend, Receipt
from adapters.rest.client import KEYS, Operation, Reply, RestClient, answered
from adapters.rest.errors import Problem, problem_of, refusal
from adapters.rest.wire import Body, Count
from adapters.transport import lost
from domain.budget import Ask
from domain.errors import HouseError
from domain.ids import derived_id

T = TypeVar("T")

Json = Mapping[str, Any]
Outcome = Receipt | HouseError


class _Result(Body):
    index: Count
    sku: str
    status: int
    problem: Any = None


class _Results(Body):
    results: list[_Result]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one item was not carried out."""

    status: int
    said: Problem
    request_id: str | None


# What a refusal of a write is in our tree; None where it is what its status and problem say.
Meaning = Callable[[T, Refusal], HouseError | None]


@dataclass(frozen=True, slots=True)
class Bulk:
    """One kind of bulk write: `around` is the body without its items."""

    client: RestClient
    operation: Operation
    around: Json

    async def send(
        self,
        writes: Sequence[T],
        item: Callable[[T], Json],
        reference: Callable[[T], str],
        meaning: Meaning[T],
        most: int,
        ask: Ask,
        before_send: BeforeSend,
    ) -> list[Outcome]:
        """One answer per write, in their order, `most` items a request.

        A request that fails as a whole is raised, unless another went before it: then its failure stands in the place of its
        items and of those that were not sent any more.
        """
        answers: list[Outcome] = []
        for start in range(0, len(writes), most):
            part = writes[start : start + most]
            try:
                answers += await self._part(part, item, reference, meaning, ask, before_send)
            except HouseError as problem:
                if not answers:
                    raise
                return answers + [problem] * (len(writes) - len(answers))
        return answers

    async def _part(
        self,
        writes: Sequence[T],
        item: Callable[[T], Json],
        reference: Callable[[T], str],
        meaning: Meaning[T],
        ask: Ask,
        before_send: BeforeSend,
    ) -> list[Outcome]:
        """An answer that the shop repeats from its memory proves what was done; what it refused then is asked anew, under the
        next key of a row that is the same in every process."""
        answers: dict[int, Outcome] = {}
        places = list(range(len(writes)))
        for turn in range(KEYS):
            items = [item(writes[place]) for place in places]
            parts = [f"{reference(writes[place])} {one}" for place, one in zip(places, items, strict=True)]
            key = derived_id(self.operation.name, self.client.channel, str(turn), *parts)
            body = {**self.around, "items": items}
            try:
                reply = await self.client.call(self.operation, ask, body=body, key=key, before_send=before_send)
                results = _results(reply, items)
            except HouseError as problem:
                if not turn:
                    raise
                return [problem if place in places else answers[place] for place in range(len(writes))]
            for place, result in zip(places, results, strict=True):
                answers[place] = self._outcome(writes[place], result, reply, meaning)
            places = [place for place in places if isinstance(answers[place], HouseError)]
            if not (reply.replayed and places):
                break
        return [answers[place] for place in range(len(writes))]

    def _outcome(self, write: T, result: _Result, reply: Reply, meaning: Meaning[T]) -> Outcome:
        if 200 <= result.status < 300:
            return Receipt(reply.request_id)
        refused = Refusal(result.status, problem_of(result.problem), reply.request_id)
        who = f"{self.client.config.shop}'s {self.operation.name} of {result.sku}"
        return meaning(write, refused) or refusal(refused.said, refused.status, who, refused.request_id, write=True)


def _results(reply: Reply, items: Sequence[Json]) -> list[_Result]:
    """In the order of the items. Raises OutcomeUnknown unless there is exactly one of each, of its very SKU."""
    results = sorted(answered(_Results, reply, write=True).results, key=lambda one: one.index)
    if [(one.index, one.sku) for one in results] != [(index, item["sku"]) for index, item in enumerate(items)]:
        raise lost(True, f"{len(results)} results that cannot be told apart for {len(items)} items", reply.request_id)
    return results
