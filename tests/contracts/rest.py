"""A wire that is read along: each request and each answer is held against docs/rest/openapi.yaml."""

from __future__ import annotations

from collections import Counter

import httpx

from conformance.contract import contract


class Watched(httpx.AsyncBaseTransport):
    """Passes everything on. `faults` is what did not keep the contract, `met` counts (operation, status)."""

    def __init__(self, inner: httpx.AsyncBaseTransport, base: str) -> None:
        self.faults: list[str] = []
        self.met: Counter[tuple[str, int]] = Counter()
        self._inner = inner
        self._base = httpx.URL(base).path.rstrip("/")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = await self._inner.handle_async_request(request)
        await answer.aread()
        path = request.url.path.removeprefix(self._base) or "/"
        operation = contract().operation(request.method, path)
        if operation is None:
            return answer
        answer.request = request
        said = f"{operation.id} {answer.status_code}"
        self.met[operation.id, answer.status_code] += 1
        self.faults += [f"{said}: {fault}" for fault in contract().answer_faults(operation, answer)]
        if answer.status_code < 400:
            self.faults += [f"{said}, asked: {fault}" for fault in contract().request_faults(operation, request, path)]
        return answer
