"""A compiled, breadth-first executor for GraphQL schemas made by Strawberry; docs/executor.md explains it in one page."""

from executor.batch import Parents, batched, by_class, lasting
from executor.plan import CompiledPlan, Read, compile
from executor.result import Result
from executor.shapes import UTC_DATETIME, Native
from executor.steps import Watch, inside
from executor.written import Copies

__all__ = [
    "UTC_DATETIME",
    "CompiledPlan",
    "Copies",
    "Native",
    "Parents",
    "Read",
    "Result",
    "Watch",
    "batched",
    "by_class",
    "compile",
    "inside",
    "lasting",
]
