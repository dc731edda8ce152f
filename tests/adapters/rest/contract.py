"""docs/rest/openapi.yaml as a judge: of every request that leaves the adapter, and of every answer that a test gives it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

import httpx
import orjson
import yaml  # type: ignore[import-untyped]  # it carries none
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

PAGE = Path(__file__).parents[3] / "docs" / "rest" / "openapi.yaml"
ROOT = "/api/v1"
_URI = "urn:shop"


@cache
def document() -> Mapping[str, Any]:
    """The page, read once."""
    read: Mapping[str, Any] = yaml.load(PAGE.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return read


class Broken(AssertionError):
    """Something that the contract does not allow."""


@dataclass
class Contract:
    """The operations that were met are kept, with the statuses of their answers."""

    document: Mapping[str, Any] = field(default_factory=document)
    met: set[tuple[str, int]] = field(default_factory=set)

    @cached_property
    def operations(self) -> dict[str, tuple[str, str, Mapping[str, Any]]]:
        """Method, path and what is said of it, by the operation's id."""
        return {
            one["operationId"]: (method.upper(), path, one)
            for path, item in self.document["paths"].items()
            for method, one in item.items()
            if method != "parameters"
        }

    @cached_property
    def registry(self) -> Registry[Any]:
        return cast("Registry[Any]", Registry().with_resource(_URI, DRAFT202012.create_resource(self.document)))

    def find(self, method: str, path: str) -> str:
        """The id of the operation, the most literal path first."""
        for name, (theirs, template, _) in sorted(self.operations.items(), key=lambda one: one[1][1].count("{")):
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(ROOT + template))
            if theirs == method and re.fullmatch(pattern, path):
                return name
        raise Broken(f"{method} {path} is no operation of the contract")

    def judge_request(self, request: httpx.Request) -> str:
        """Its operation's id. Raises Broken."""
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        name = self.find(request.method, path)
        _, template, said = self.operations[name]
        parameters = [self._whole(one) for one in [*self._shared(template), *said.get("parameters", ())]]
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        allowed = {one["name"] for one in parameters if one["in"] == "query"}
        if unknown := given.keys() - allowed:
            raise Broken(f"{name} has no parameter {', '.join(sorted(unknown))}")
        for one in parameters:
            where = given if one["in"] == "query" else request.headers
            if one["in"] == "path":
                continue
            if one["name"] in where:
                self._fits(_typed(where[one["name"]], one["schema"]), one["schema"], f"{name} {one['name']}")
            elif one.get("required"):
                raise Broken(f"{name} lacks {one['name']}")
        self._judge_body(name, said.get("requestBody"), request)
        return name

    def judge_answer(self, name: str, answer: httpx.Response) -> None:
        """Raises Broken."""
        _, _, said = self.operations[name]
        found = said["responses"].get(str(answer.status_code))
        if found is None:
            raise Broken(f"{name} never answers {answer.status_code}")
        whole = self._whole(found)
        for header, one in whole.get("headers", {}).items():
            wanted = self._whole(one)
            if header in answer.headers:
                self._fits(answer.headers[header], wanted["schema"], f"{name} {header}")
            elif wanted.get("required"):
                raise Broken(f"{name} {answer.status_code} lacks {header}")
        if "content" in whole:
            media = answer.headers.get("content-type", "").partition(";")[0]
            if media not in whole["content"]:
                raise Broken(f"{name} answers {media!r}, not {', '.join(whole['content'])}")
            if media.endswith("json"):
                self._fits(orjson.loads(answer.content), whole["content"][media]["schema"], f"{name}'s answer")
        self.met.add((name, answer.status_code))

    def _judge_body(self, name: str, said: Mapping[str, Any] | None, request: httpx.Request) -> None:
        if said is None:
            if request.content:
                raise Broken(f"{name} takes no body")
            return
        media = request.headers.get("content-type", "").partition(";")[0]
        if media not in said["content"]:
            raise Broken(f"{name} takes no {media!r}")
        body: Any
        if media == "application/x-www-form-urlencoded":
            body = dict(parse_qsl(request.content.decode(), keep_blank_values=True, strict_parsing=True))
        else:
            body = orjson.loads(request.content)
        self._fits(body, said["content"][media]["schema"], f"{name}'s body")

    def fits(self, value: object, schema: str) -> None:
        """Raises Broken where `value` is not as the component says."""
        self._fits(value, {"$ref": f"#/components/schemas/{schema}"}, schema)

    def _fits(self, value: object, schema: Mapping[str, Any], what: str) -> None:
        whole = _absolute(schema)
        validator = Draft202012Validator(whole, registry=self.registry)
        if fault := next(iter(validator.iter_errors(value)), None):
            raise Broken(f"{what}: {fault.json_path}: {fault.message}")

    def _whole(self, one: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in one:
            return one
        found: Any = self.document
        for part in one["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return self._whole(found)

    def _shared(self, template: str) -> list[Mapping[str, Any]]:
        shared: list[Mapping[str, Any]] = self.document["paths"][template].get("parameters", [])
        return shared


def _absolute(schema: Any) -> Any:
    """The same with references to the document made whole."""
    if isinstance(schema, dict):
        return {
            name: _URI + value
            if name == "$ref" and isinstance(value, str) and value.startswith("#")
            else _absolute(value)
            for name, value in schema.items()
        }
    return [_absolute(one) for one in schema] if isinstance(schema, list) else schema


def _typed(text: str, schema: Mapping[str, Any]) -> object:
    if schema.get("type") == "integer":
        return int(text)
    if schema.get("type") == "array":
        return [unquote(part) for part in text.split(",")]
    return text


class Judging(httpx.AsyncBaseTransport):
    """The network behind `inner`, with every request and answer judged. What the shop never said, such as a connection that was
    reset, passes."""

    def __init__(self, inner: httpx.AsyncBaseTransport, contract: Contract) -> None:
        self._inner = inner
        self._contract = contract

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        name = self._contract.judge_request(request)
        answer = await self._inner.handle_async_request(request)
        await answer.aread()
        self._contract.judge_answer(name, answer)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()
