"""Manifests of documents: collected from the sources of a client, or as its own tools write them; checked as a gateway would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    Node,
    OperationDefinitionNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from gateway.body import BadRequest, id_of, read_id
from gateway.plan import Plans, Rejected
from store import document
from store.document import Document
from store.session import Store

GRAPHQL = frozenset({".graphql", ".gql"})
SCRIPTS = frozenset({".ts", ".tsx", ".mts", ".js", ".jsx", ".mjs"})
_NOT_OURS = frozenset({"node_modules", "dist", "build"})
# gql`…`, graphql`…`, and the same called with a template: graphql(`…`).
_TAGGED = re.compile(r"\b(?:gql|graphql)\s*(?:\(\s*(?:/\*.*?\*/\s*)?)?`((?:[^`\\]|\\.)*)`", re.DOTALL)
# A template may hold other documents, whose fragments are found by their names.
_HOLE = re.compile(r"\$\{[\w.$\s]*\}")


class ManifestProblem(Exception):
    """What is wrong, one line for each thing."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))


@dataclass(slots=True)
class _Found:
    """What the sources hold. Operations come with where they stand, such as `src/cart.ts:12`."""

    operations: list[tuple[str, OperationDefinitionNode]] = field(default_factory=list)
    fragments: dict[str, FragmentDefinitionNode] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, where: str, parsed: DocumentNode) -> None:
        """Take what can be executed; the rest of a .graphql file may be a schema."""
        for one in parsed.definitions:
            if isinstance(one, OperationDefinitionNode):
                self.operations.append((where, one))
            elif isinstance(one, FragmentDefinitionNode):
                before = self.fragments.setdefault(one.name.value, one)
                if print_ast(before) != print_ast(one):
                    self.problems.append(f"{where}: there is another fragment {one.name.value}.")

    def document(self, operation: OperationDefinitionNode) -> str:
        """An operation with the fragments that it needs, in the order of their use. Raises KeyError for one that is missing."""
        needed: dict[str, FragmentDefinitionNode] = {}
        open: list[Node] = [operation]
        while open:
            for name in _spreads(open.pop(0)):
                if name not in needed:
                    needed[name] = self.fragments[name]
                    open.append(needed[name])
        return print_ast(DocumentNode(definitions=(operation, *needed.values())))


def _spreads(node: Node) -> list[str]:
    names: list[str] = []

    class Spreads(Visitor):
        def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
            names.append(node.name.value)

    visit(node, Spreads())
    return names


def collect(paths: Iterable[Path], plans: Plans) -> dict[str, str]:
    """The operations of .graphql files and of templates tagged `gql` or `graphql` in scripts, as documents by their SHA-256.

    Each holds one operation and the fragments that it needs, wherever those stand. Raises ManifestProblem.
    """
    found = _Found()
    for file in _files(paths):
        for line, text in _texts(file):
            try:
                found.add(f"{file}:{line}", parse(text))
            except GraphQLSyntaxError as problem:
                at = line - 1 + (problem.locations or [])[0].line
                found.problems.append(f"{file}:{at}: {problem.message}")
    texts: dict[str, str] = {}
    for where, operation in found.operations:
        try:
            text = found.document(operation)
        except KeyError as missing:
            found.problems.append(f"{where}: there is no fragment {missing.args[0]}.")
            continue
        found.problems += [f"{where}: {one}" for one in mistakes(text, plans)]
        texts[id_of(text)] = text
    if not found.operations and not found.problems:
        found.problems.append("No operation was found.")
    if found.problems:
        raise ManifestProblem(found.problems)
    return dict(sorted(texts.items()))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
            continue
        if not path.is_dir():
            raise ManifestProblem([f"There is no {path}."])
        for file in sorted(path.rglob("*")):
            inner = file.relative_to(path).parts
            ours = not any(part in _NOT_OURS or part.startswith(".") for part in inner)
            if ours and file.suffix in GRAPHQL | SCRIPTS and file.is_file():
                yield file


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """(the line where it begins, the text) of each piece of GraphQL in a file."""
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ManifestProblem([f"{file} cannot be read: {problem}."]) from None
    if file.suffix not in SCRIPTS:
        if source.strip():
            yield 1, source
        return
    for one in _TAGGED.finditer(source):
        text = _HOLE.sub("", one[1]).replace("\\`", "`")
        if text.strip():
            yield source.count("\n", 0, one.start(1)) + 1, text


def mistakes(text: str, plans: Plans) -> list[str]:
    """Why a gateway would refuse a document, its operations one by one; empty when it would not."""
    try:
        names = _names(text)
        if not names:
            return ["The document has no operation."]
        for name in names:
            plans.of(text, name)
    except GraphQLSyntaxError as problem:
        return [problem.message]
    except Rejected as problem:
        return [problem.error.message]
    return []


def _names(text: str) -> list[str | None]:
    operations = [one for one in parse(text).definitions if isinstance(one, OperationDefinitionNode)]
    return [None if one.name is None else one.name.value for one in operations]


def read(path: Path, plans: Plans) -> dict[str, str]:
    """The documents of a manifest by id: of `{id: text}`, which Relay and code generators write too, or of Apollo's own form.

    Each is there under its SHA-256, and under the manifest's own id where that is another. Raises ManifestProblem.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for given, text in _entries(path).items():
        try:
            id = read_id(given)
        except BadRequest as problem:
            problems.append(f"{given}: {problem.message}")
            continue
        if re.fullmatch("[0-9a-f]{64}", id) and id != id_of(text):
            problems.append(f"{given}: this is not the SHA-256 of its document.")
        problems += [f"{given}: {one}" for one in mistakes(text, plans)]
        texts |= {id: text, id_of(text): text}
    if problems:
        raise ManifestProblem(problems)
    return texts


def _entries(path: Path) -> dict[str, str]:
    try:
        data = orjson.loads(path.read_bytes())
        if isinstance(data, dict) and data.get("format") == "apollo-persisted-query-manifest":
            data = {one["id"]: one["body"] for one in data["operations"]}
    except OSError as problem:
        raise ManifestProblem([f"{path} cannot be read: {problem.strerror}."]) from None
    except (ValueError, LookupError, TypeError):
        data = None
    if not isinstance(data, dict) or not all(isinstance(one, str) for pair in data.items() for one in pair):
        raise ManifestProblem([f'{path} is no manifest; one is a JSON object such as {{"<sha256>": "query …"}}.'])
    return data


async def register(store: Store, texts: Mapping[str, str]) -> int:
    """Keep documents by id; how many are new. Raises ManifestProblem when an id is another document's already."""
    async with store.begin() as tx:
        made = await document.register(tx, texts)
        kept = await document.texts(tx, texts.keys())
        others = [f"{id} is another document's already." for id, text in texts.items() if kept[id] != text]
        if others:
            raise ManifestProblem(others)
        return len(made)


async def registered(store: Store) -> list[Document]:
    """Every document that is kept, the oldest first."""
    async with store.begin() as tx:
        return await document.all(tx)


async def remove(store: Store, ids: Sequence[str]) -> list[str]:
    """Forget documents; the ids of those that were not there. Gateways stop running them within five seconds."""
    async with store.begin() as tx:
        gone = await document.remove(tx, ids)
    return [id for id in ids if id not in gone]


def names_of(text: str) -> str:
    """The names of a document's operations, for people."""
    return ", ".join(name or "(no name)" for name in _names(text))
