"""Labels, from both APIs that sell them."""

from sandbox.amazon import merchant_fulfillment, shipping
from sandbox.amazon.label_store import Labels
from sandbox.amazon.operation import Operation
from sandbox.amazon.state import Amazon


def operations(amazon: Amazon) -> list[Operation]:
    """What of both APIs is served."""
    labels = Labels(amazon)
    return [*merchant_fulfillment.operations(labels), *shipping.operations(labels)]
