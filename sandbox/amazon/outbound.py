"""Fulfillment Outbound in both versions, over one store of orders: what is created in one is seen in the other."""

from sandbox.amazon import outbound_2020, outbound_2026
from sandbox.amazon.operation import Operation
from sandbox.amazon.outbound_store import Store
from sandbox.amazon.state import Amazon


def operations(amazon: Amazon) -> list[Operation]:
    """What of both versions is served."""
    store = Store(amazon)
    return [*outbound_2020.operations(store), *outbound_2026.operations(store)]
