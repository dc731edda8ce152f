"""Results: bytes at once where nothing failed, plain data and errors where somebody looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphql import ExecutionResult, GraphQLError
from msgspec import UNSET, Raw, Struct, UnsetType

from executor import exact
from executor.written import ENCODER


class _Response(Struct, gc=False):
    data: Any = UNSET
    errors: Sequence[Mapping[str, Any]] | UnsetType = UNSET
    extensions: Mapping[str, Any] | Raw | UnsetType = UNSET


class Result(Struct, eq=False):
    """What a run answered. `executed` is False when it never began, because the variables could not be read."""

    _answer: Struct | None
    _failed: bool
    executed: bool = True
    _settled: tuple[dict[str, Any] | None, list[GraphQLError]] | None = None

    @classmethod
    def refused(cls, errors: list[GraphQLError]) -> Result:
        """The result of a run that never began."""
        return cls(None, True, False, (None, errors))

    @classmethod
    def of(cls, result: ExecutionResult) -> Result:
        """The result of a run by graphql-core, where errors without a path say that it never began."""
        errors = list(result.errors or ())
        refused = result.data is None and bool(errors) and all(one.path is None for one in errors)
        return cls(None, True, not refused, (result.data, errors))

    @property
    def data(self) -> dict[str, Any] | None:
        """The data in plain dicts and lists."""
        return self._settle()[0]

    @property
    def answer(self) -> Struct | None:
        """The answer as it will be encoded, with what was written before; None where something failed, or graphql-core ran it."""
        return None if self._failed else self._answer

    @property
    def errors(self) -> list[GraphQLError]:
        """The errors; no walk is needed to know that there are none."""
        return self._settle()[1] if self._failed else []

    def encode(
        self,
        errors: Sequence[Mapping[str, Any]] | None = None,
        extensions: Mapping[str, Any] | Raw | None = None,
    ) -> bytes:
        """The response as JSON. `errors` are told in place of the result's own, in whatever words; `extensions` may be JSON
        already."""
        told = [one.formatted for one in self.errors] if errors is None else errors
        response = _Response(
            data=(self.data if self._failed else self._answer) if self.executed else UNSET,
            errors=told or UNSET,
            extensions=extensions or UNSET,
        )
        return ENCODER.encode(response)

    def _settle(self) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
        if self._settled is None:
            assert self._answer is not None
            self._settled = exact.settle(self._answer)
        return self._settled
