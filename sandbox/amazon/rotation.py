"""New secrets for the application. Source: Application Management 2023-11-30, rotateApplicationClientSecret."""

from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon.errors import Failure
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
        return {"enrolled": amazon.login.enrolled, "rotations": amazon.login.rotations}

    def change(body: dict[str, Any]) -> dict[str, Any]:
        if set(body) != {"enrolled"} or not isinstance(body["enrolled"], bool):
            raise ValueError('send {"enrolled": true|false}')
        amazon.login.enrolled = body["enrolled"]
        return shown()

    return [
        Route("/rotation", endpoint(shown), methods=["GET"]),
        Route("/rotation", answer(change), methods=["POST"]),
    ]
