"""New secrets for the application. Source: Application Management 2023-11-30, rotateApplicationClientSecret."""

import re
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon.errors import Failure
from sandbox.amazon.notices import QUEUE_ARN
from sandbox.amazon.operation import Asked, Operation
from sandbox.control import answer, endpoint

if TYPE_CHECKING:
    from sandbox.amazon.state import Amazon

NOT_ENROLLED = (
    "Application is not enrolled for rotation notification. Please update application notification preference in "
    "Developer console."
)


def operations(amazon: "Amazon") -> list[Operation]:
    """rotateApplicationClientSecret."""

    def rotate(_: Asked) -> None:
        if not amazon.login.enrolled:
            raise Failure(400, "InvalidInput", NOT_ENROLLED)
        amazon.login.rotate()
        if amazon.login.queue is not None:
            amazon.notices.secret_rotated(amazon.login.queue, amazon.login.rotations[-1])

    return [
        Operation(
            "rotateApplicationClientSecret",
            "POST",
            "/applications/2023-11-30/clientSecret",
            rotate,
            status=204,
            scope="sellingpartnerapi::client_credential:rotation",
        )
    ]


def routes(amazon: "Amazon") -> list[BaseRoute]:
    """GET and POST /_sandbox/rotation: whether a queue is registered, and what was sent to it."""

    def shown(_: object = None) -> dict[str, Any]:
        login = amazon.login
        return {"enrolled": login.enrolled, "queue": login.queue, "rotations": login.rotations}

    def change(body: dict[str, Any]) -> dict[str, Any]:
        queue = body.get("queue", amazon.login.queue)
        if set(body) - {"queue"} != {"enrolled"} or not isinstance(body["enrolled"], bool):
            raise ValueError('send {"enrolled": true|false}, with "queue": its ARN where secrets are to be sent there')
        if queue is not None and not (isinstance(queue, str) and re.fullmatch(QUEUE_ARN, queue)):
            raise ValueError("queue is the ARN of a queue")
        amazon.login.enrolled, amazon.login.queue = body["enrolled"], queue
        return shown()

    return [
        Route("/rotation", endpoint(shown), methods=["GET"]),
        Route("/rotation", answer(change), methods=["POST"]),
    ]
