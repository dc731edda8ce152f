"""A compiled, breadth-first executor for GraphQL schemas made by Strawberry; docs/executor.md explains it in one page."""

from executor.batch import Parents, batched, by_class
from executor.plan import CompiledPlan, compile
from executor.result import Result
from executor.shapes import UTC_DATETIME, Native

__all__ = ["UTC_DATETIME", "CompiledPlan", "Native", "Parents", "Result", "batched", "by_class", "compile"]
