"""All checks of the REST contract, in the order in which they are made: what everything else rests on comes first."""

from conformance import hooks, orders, reads, start, writes
from conformance.kit import CHECKS, Report, Wanted, run

_ORDER = [module.__name__ for module in (start, reads, orders, writes, hooks)]
CHECKS.sort(key=lambda check: _ORDER.index(check.run.__module__))

__all__ = ["CHECKS", "Report", "Wanted", "run"]
