"""Amazon's published schemas of notifications: their types, their examples, and instances made from them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from domain.ids import ChannelId
from tests.contracts.spapi import FOLDER

CHANNEL = ChannelId("amazon-us")
SELLER = "A1EXAMPLEUS"
# Examples of the schemas that break the schema they stand in, or name a type by another name than its schema does.
SPELLINGS = {"LISTINGS_ITEM_STATUS_CHANGED": "LISTINGS_ITEM_STATUS_CHANGE"}


@cache
def schemas() -> tuple[dict[str, Any], ...]:
    """All of them."""
    files = sorted((Path(FOLDER or "") / "spapi-models" / "schemas" / "notifications").glob("*.json"))
    return tuple(json.loads(file.read_text(encoding="utf-8")) for file in files)


def published_types() -> list[str]:
    """The type of each schema."""
    return sorted({_type(body) for schema in schemas() for body in _bodies(schema)})


def example(type: str) -> list[dict[str, Any]]:
    """Amazon's examples of a type, and one instance of its schema with all that the schema lists."""
    return [body for schema in schemas() for body in _bodies(schema) if _type(body) == type]


def schema_of(type: str, payload_version: str = "1.0") -> dict[str, Any]:
    """The schema that notifications of a type must meet; of several the one whose example has this version."""
    found = [one for one in schemas() if any(_type(body) == type for body in _bodies(one))]
    exact = [one for one in found if any(_low(body)["payloadversion"] == payload_version for body in _bodies(one))]
    return _rooted((exact or found)[0])


def notification_faults(body: dict[str, Any]) -> list[str]:
    """Where a notification breaks the published schema of its type."""
    schema = schema_of(_type(body), _low(body)["payloadversion"])
    validator = jsonschema.validators.validator_for(schema)(schema)
    faults = [one for one in validator.iter_errors(body) if one.instance not in [*SPELLINGS.values()]]
    return [f"{list(one.absolute_path)}: {one.message}" for one in faults]


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    # One schema says `#ref` where it means `$ref`.
    return {**schema, "$ref": schema["#ref"]} if "#ref" in schema else schema


def _bodies(schema: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        made = _instance(_rooted(schema), schema)
    except KeyError:  # one schema refers to a definition that it does not hold
        return list(schema["examples"])
    assert isinstance(made, dict)
    made.update({name: "2026-03-01T12:00:00.284Z" for name in made if name.lower() == "eventtime"})
    if not isinstance(_low(made).get("notificationtype"), str) or _low(made)["notificationtype"] == "text":
        named = next(name for name in made if name.lower() == "notificationtype")
        made[named] = _named(schema)
    return [*schema.get("examples", []), made]


def _named(schema: dict[str, Any]) -> str:
    for body in schema.get("examples", []):
        return str(_low(body)["notificationtype"])
    return next(word for word in str(schema["description"]).split() if word.isupper() and "_" in word)


def _instance(schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    """Something with everything that a schema lists."""
    if "$ref" in schema:
        target: Any = whole
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _instance(target, whole)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("oneOf", "anyOf", "allOf"):
        if choice in schema and "properties" not in schema:
            return _instance(schema[choice][0], whole)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            return {name: _instance(one, whole) for name, one in schema.get("properties", {}).items()}
        case "array":
            items = schema.get("items", {})
            return [_instance(items[0] if isinstance(items, list) else items, whole)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return "2026-03-01T12:00:00Z" if schema.get("format") == "date-time" else "text"


def _low(body: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in body.items()}


def _type(body: dict[str, Any]) -> str:
    named = str(_low(body)["notificationtype"])
    return SPELLINGS.get(named, named)
