"""The contract as data: which operation a request is, and what is wrong with its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator, ValidationError

METHODS = ("get", "put", "post", "patch", "delete")
_DOCUMENT = Path(__file__).parent / "contract.json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `where` is its place in the document; `part` "" belongs to every shop."""

    id: str
    method: str
    path: str
    part: str
    where: tuple[str, ...]
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not keep the contract. `at` is a path into the body, or the name of a header."""

    at: str
    words: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.at}: {self.words}" if self.at else self.words


class Contract:
    """The document, with what is asked of it. Paths are those below the shop's base address."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations = [
            Operation(
                entry["operationId"],
                method.upper(),
                path,
                entry.get("x-part", ""),
                ("paths", path, method),
                _pattern(path),
            )
            for path, item in document["paths"].items()
            for method, entry in item.items()
            if method in METHODS
        ]
        self._validators: dict[str, Draft202012Validator] = {}

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation that a request is; paths without parameters first."""
        fit = [each for each in self.operations if each.method == method and each.pattern.fullmatch(path)]
        return min(fit, key=lambda each: each.path.count("{"), default=None)

    def answer_faults(self, operation: Operation, answer: httpx.Response) -> list[Fault]:
        """What of an answer does not keep the contract: its status, headers, media type and body."""
        responses = self._at(operation.where)["responses"]
        status = str(answer.status_code)
        if status not in responses:
            return [Fault("status", f"{status} is none of {', '.join(responses)}")]
        where = (*operation.where, "responses", status)
        response, where = self._resolved(where)
        return [*self._header_faults(response, answer.headers), *self._body_faults(response, where, answer)]

    def request_faults(self, operation: Operation, request: httpx.Request, path: str) -> list[Fault]:
        """What of a request does not keep the contract: its parameters and its body."""
        item = self._at(operation.where[:-1])
        entry = self._at(operation.where)
        found = operation.pattern.fullmatch(path)
        given: dict[str, Mapping[str, str]] = {
            "path": found.groupdict() if found else {},
            "query": dict(request.url.params),
            "header": request.headers,
        }
        faults: list[Fault] = []
        parameters = [self._referred(one) for one in (*item.get("parameters", ()), *entry.get("parameters", ()))]
        for one in parameters:
            faults += self._parameter_faults(one, given[one["in"]].get(one["name"]))
        known = {one["name"] for one in parameters if one["in"] == "query"}
        faults += [Fault(name, "is no parameter of it") for name in request.url.params if name not in known]
        return [*faults, *self._sent_faults(entry, operation, request)]

    def value_faults(self, schema: str, value: object) -> list[Fault]:
        """What of a value does not fit a named schema."""
        return list(self._faults(f"#/components/schemas/{schema}", value))

    def _parameter_faults(self, parameter: Mapping[str, Any], given: str | None) -> Iterator[Fault]:
        name = parameter["name"]
        if given is None:
            if parameter.get("required"):
                yield Fault(name, "is missing")
            return
        schema = self._referred(parameter["schema"])
        value: object = given
        if schema.get("type") == "integer":
            value = int(given) if re.fullmatch(r"-?\d{1,12}", given) else given
        elif schema.get("type") == "array":
            value = given.split(",")
        for error in Draft202012Validator(self._whole(schema)).iter_errors(value):
            yield Fault(name, error.message)

    def _sent_faults(self, entry: Mapping[str, Any], operation: Operation, request: httpx.Request) -> Iterator[Fault]:
        wanted = entry.get("requestBody")
        media = request.headers.get("content-type", "").partition(";")[0].strip()
        if wanted is None or not request.content:
            if wanted is not None and wanted.get("required"):
                yield Fault("", "a body is missing")
            return
        if media not in wanted["content"]:
            yield Fault("content-type", f"{media!r} is none of {', '.join(wanted['content'])}")
        elif media.endswith("json") and not media.endswith("ndjson"):
            where = (*operation.where, "requestBody", "content", media, "schema")
            yield from self._faults(_pointer(where), json.loads(request.content))

    def _header_faults(self, response: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Fault]:
        for name, reference in response.get("headers", {}).items():
            header = self._referred(reference)
            given = headers.get(name)
            if given is None:
                if header.get("required"):
                    yield Fault(name, "the header is missing")
                continue
            for error in Draft202012Validator(self._whole(header["schema"])).iter_errors(given):
                yield Fault(name, error.message)

    def _body_faults(
        self, response: Mapping[str, Any], where: tuple[str, ...], answer: httpx.Response
    ) -> Iterator[Fault]:
        content = response.get("content")
        if content is None:
            if answer.content:
                yield Fault("", f"{answer.status_code} has no body")
            return
        media = answer.headers.get("content-type", "").partition(";")[0].strip()
        if media not in content:
            yield Fault("content-type", f"{media!r} is none of {', '.join(content)}")
            return
        if media == "application/x-ndjson":
            for number, line in enumerate(answer.text.splitlines(), 1):
                for fault in self.value_faults("JobLine", json.loads(line)):
                    yield Fault(f"line {number} {fault.at}", fault.words, fault.keys)
            return
        try:
            body = answer.json()
        except ValueError:
            yield Fault("", "the body is no JSON")
            return
        yield from self._faults(_pointer((*where, "content", media, "schema")), body)

    def _faults(self, pointer: str, value: object) -> Iterator[Fault]:
        if pointer not in self._validators:
            schema = self._whole(self._at(_parts(pointer)))
            self._validators[pointer] = Draft202012Validator(schema)
        for error in self._validators[pointer].iter_errors(value):
            deepest = _deepest(error)
            keys = tuple(str(key) for key in deepest.absolute_path)
            yield Fault("/".join(keys), deepest.message[:200], keys)

    def _whole(self, schema: Any) -> Any:
        """The schema with all that it refers to in its place; none of ours refers to itself. Following references takes the
        validator longer than all else."""
        if isinstance(schema, list):
            return [self._whole(one) for one in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self._whole(self._at(_parts(schema["$ref"])))
        return {name: self._whole(one) for name, one in schema.items()}

    def _at(self, where: tuple[str, ...]) -> dict[str, Any]:
        found: Any = self.document
        for key in where:
            found = found[key]
        value: dict[str, Any] = found
        return value

    def _referred(self, value: dict[str, Any]) -> dict[str, Any]:
        return self._at(_parts(value["$ref"])) if "$ref" in value else value

    def _resolved(self, where: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        value = self._at(where)
        if "$ref" in value:
            where = _parts(value["$ref"])
            value = self._at(where)
        return value, where


def _deepest(error: ValidationError) -> ValidationError:
    """Of alternatives the error that lies deepest in the value: the one that was meant."""
    while error.context:
        error = max(error.context, key=lambda one: len(one.absolute_path))
    return error


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile(
        "".join(re.escape(part) if place % 2 == 0 else f"(?P<{part}>[^/]+)" for place, part in enumerate(parts))
    )


def _parts(reference: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in reference.removeprefix("#/").split("/"))


def _pointer(where: tuple[str, ...]) -> str:
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in where)


@cache
def contract() -> Contract:
    """The contract of this version."""
    return Contract(json.loads(_DOCUMENT.read_text(encoding="utf-8")))
