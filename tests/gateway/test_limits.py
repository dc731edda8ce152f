"""What one query may ask for, and that finding it out is cheap."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from graphql import get_introspection_query

from gateway import limits
from gateway.limits import Limits
from gateway.plan import Plans, Rejected
from resolvers.context import Caller
from schema.root import schema as public_schema
from schema.scopes import ALL, SCOPES
from tests.gateway import sample

ADMIN = Caller("admin", ALL)

T = TypeVar("T")


@pytest.fixture
def plans() -> Plans:
    return Plans(sample.schema._schema, sample.SCOPES)


@pytest.fixture
def public() -> Plans:
    return Plans(public_schema._schema, SCOPES)


def refusal(plans: Plans, query: str, *, operation: str | None = None, **variables: Any) -> tuple[str, str]:
    """(code, message) of what is refused; fails when it is not."""
    with pytest.raises(Rejected) as caught:
        plans.of(query, operation).admit(ADMIN, variables)
    return (caught.value.error.extensions or {})["code"], caught.value.error.message


def cost(plans: Plans, query: str, **variables: Any) -> int:
    return plans.of(query, None).admit(ADMIN, variables)


def nested(levels: int) -> str:
    return "{ branches { nodes " + "{ child " * (levels - 3) + "{ name }" + " }" * (levels - 3) + " } }"


def many_fields(more: str) -> str:
    """500 fields and `more`, twenty of them at the root, ten levels deep."""
    leaf = "{ name secret child { name secret __typename } }"
    for _ in range(6):
        leaf = f"{{ name secret child {leaf} }}"
    tree = f"branches {{ totalCount nodes {leaf} }}"
    roots = "".join(f"a{number}: {tree}" for number in range(18))
    twice = "fragment P on Branch { totalCount nodes { name secret child { name } } }"
    return f"{{ {roots} b: branches {{ ...P {more} }} c: branches {{ ...P }} }} {twice}"


# Some tens of milliseconds of Python; counted and not timed, so that it is the same on every machine.
MOST_CALLS = 300_000


def counted(work: Callable[[], T]) -> tuple[int, T]:
    """How many functions are called in `work`, and what it comes to."""
    calls = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        came_to = work()
    finally:
        sys.setprofile(None)
    return calls, came_to


def spreads(last: str, fragments: int = 40) -> str:
    """Fragments that each spread the next one twice: 2^fragments of what stands in the last."""
    chain = "".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}\n" for i in range(fragments - 1))
    return f"{{ ...F0 }}\n{chain}fragment F{fragments - 1} on Query {last}"


@pytest.mark.parametrize("last", ["{ hello }", "{ a: hello }", "{}", "{ branches { totalCount } }"])
def test_a_bomb_of_fragments_is_refused_at_once(plans: Plans, last: str) -> None:
    calls, (code, message) = counted(lambda: refusal(plans, spreads(last)))
    assert calls < MOST_CALLS
    assert code == "LIMIT_EXCEEDED"
    assert "millions of" in message


CHANNELS = "channels { id } "
BOMBS = {
    "an operation that is not executed": "query A { channels { id } } query B { " + CHANNELS * 480 + "}",
    "the operation itself": "query A { " + CHANNELS * 480 + "}",
    "a fragment nobody spreads": "query A { channels { id } } fragment F on Query { " + CHANNELS * 480 + "}",
    "a second fragment of one name": "query A { ...F } fragment F on Query { "
    + CHANNELS * 480
    + "} fragment F on Query { channels { id } }",
    "many fields of one name within limits": "query A { products { " + "nodes { sku } " * 220 + "} }",
    "many of one name in a fragment": "query A { ...F } fragment F on Query { products { "
    + "nodes { sku title } " * 160
    + "} }",
    "many leaves of one name": "query A { channels { " + "id " * 480 + "} }",
    "many operations": "".join(f"query {name} {{ channels {{ id }} }} " for name in (f"A{n}" for n in range(200))),
    "fragments within fragments": "query A { ...F0 } "
    + "".join(f"fragment F{n} on Query {{ {CHANNELS * 5} ...F{n + 1} }} " for n in range(48))
    + "fragment F48 on Query { channels { id } }",
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_document_holds_the_process_up(public: Plans, name: str) -> None:
    calls, (code, _) = counted(
        lambda: refusal(public, BOMBS[name], operation="A" if name != "many operations" else "A0")
    )
    assert code == "LIMIT_EXCEEDED"
    assert calls < MOST_CALLS


def test_without_its_patience_a_comparison_would_hold_the_process_up(
    public: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMPARISONS", 10**9)
    calls, _ = counted(lambda: public.of(BOMBS["many leaves of one name"], "A"))
    assert calls > MOST_CALLS


def test_a_field_may_be_named_again_within_reason(public: Plans) -> None:
    fragments = "".join(f"fragment F{n} on Query {{ channels {{ id name }} }} " for n in range(20))
    query = "{ " + " ".join(f"...F{n}" for n in range(20)) + " } " + fragments
    assert cost(public, query) == 20 * 5


@pytest.mark.parametrize(
    "query",
    [
        "{ ...A } fragment A on Query { ...A }",
        "{ ...A } fragment A on Query { ...B } fragment B on Query { hello ...C } fragment C on Query { ...A }",
        "{ hello } fragment A on Query { ...B } fragment B on Query { ...A }",
    ],
)
def test_fragments_in_a_circle_are_refused(plans: Plans, query: str) -> None:
    assert refusal(plans, query) == ("LIMIT_EXCEEDED", "Fragment A spreads itself.")


@pytest.mark.parametrize(
    ("fits", "does_not", "said"),
    [
        (nested(10), nested(11), "11 levels; 10"),
        (
            "{ " + " ".join(f"a{i}: hello" for i in range(20)) + " }",
            "{ " + " ".join(f"a{i}: hello" for i in range(21)) + " }",
            "21 root fields; 20",
        ),
        (
            "{ branches { " + " ".join(f"a{i}: totalCount" for i in range(30)) + " } }",
            "{ branches { " + " ".join(f"a{i}: totalCount" for i in range(31)) + " } }",
            "31 aliases; 30",
        ),
        (
            many_fields(""),
            many_fields("__typename"),
            "501 fields; 500",
        ),
        (
            "{ hello " + "@include(if: true) " + " }",
            "{ hello " + "@include(if: true) " * 9 + " }",
            "9 directives stand at one place; 8",
        ),
        (
            "{ " + "...F " + " } " + "fragment F on Query { hello }",
            "{ ...F0 } " + " ".join(f"fragment F{i} on Query {{ hello }}" for i in range(51)),
            "51 fragments; 50",
        ),
        ("{ hello " * 1 + "}", "{ " + "hello " * 2000 + "}", "more than 2000 tokens"),
        ("# one\n{ hello }", "#\n" * 2001 + "{ hello }", "more than 2000 comments"),
        ("{ branches(first: 100) { totalCount } }", "{ branches(first: 101) { totalCount } }", "`first` is 101"),
        ("{ branches(first: 1) { totalCount } }", "{ branches(first: -1) { totalCount } }", "`first` is -1"),
    ],
)
def test_each_limit_lets_its_number_through_and_no_more(plans: Plans, fits: str, does_not: str, said: str) -> None:
    plans.of(fits, None).admit(ADMIN, {})
    code, message = refusal(plans, does_not)
    assert code == "LIMIT_EXCEEDED"
    assert said in message


def test_fragments_count_wherever_they_are_spread(plans: Plans) -> None:
    aliases = " ".join(f"a{i}: totalCount" for i in range(16))
    query = f"{{ branches {{ ...F }} more: branches {{ ...F }} }} fragment F on Branch {{ {aliases} }}"
    assert refusal(plans, query)[1].startswith("The operation has 33 aliases")


def test_inline_fragments_hide_nothing(plans: Plans) -> None:
    query = "{ ... on Query { ... { " + " ".join(f"a{i}: hello" for i in range(21)) + " } } }"
    assert "21 root fields" in refusal(plans, query)[1]


def test_a_page_may_come_from_a_variable_or_its_default(plans: Plans) -> None:
    query = "query ($n: Int! = 101) { branches(first: $n) { nodes { name } } }"
    assert "`first` is 101" in refusal(plans, query)[1]
    assert "`first` is 5000" in refusal(plans, query, n=5000)[1]
    assert cost(plans, query, n=7) == 1 + 7


def test_null_is_the_usual_page_and_a_whole_float_a_number(public: Plans) -> None:
    """As they are executed."""
    usual = cost(public, "{ products { nodes { sku } } }")
    assert usual == 1 + 50
    assert cost(public, "{ products(first: null) { nodes { sku } } }") == usual
    query = "query ($n: Int) { products(first: $n) { nodes { sku } } }"
    assert cost(public, query) == cost(public, query, n=None) == usual
    assert cost(public, query, n=100.0) == cost(public, query, n=100) == 1 + 100
    assert "`first` is 1000" in refusal(public, query, n=1e3)[1]
    with_default = "query ($n: Int = 7) { products(first: $n) { nodes { sku } } }"
    assert (cost(public, with_default), cost(public, with_default, n=None)) == (1 + 7, usual)
    assert cost(public, "query ($n: Int = null) { products(first: $n) { nodes { sku } } }") == usual


def test_cost_multiplies_lists_within_lists(plans: Plans) -> None:
    assert cost(plans, "{ hello }") == 0
    assert cost(plans, "{ branches(first: 10) { totalCount nodes { name child { name } } } }") == 1 + 10 + 10
    assert cost(plans, "{ branches { nodes { name } } }") == 1 + 50
    query = "query ($skus: [String!]!) { stock(skus: $skus) { name child { name } } }"
    assert cost(plans, query, skus=["A"] * 250) == 500
    assert cost(plans, query, skus="A") == 2
    assert cost(plans, '{ stock(skus: ["A", "B", "C"]) { name } }') == 3


@pytest.mark.parametrize("field", ["products", "returnChains", "stockDrift", "bankLines"])
def test_a_total_count_costs_five_of_whatever_it_is(public: Plans, field: str) -> None:
    plain = cost(public, f"{{ {field}(first: 1) {{ pageInfo {{ hasNextPage }} }} }}")
    assert cost(public, f"{{ {field}(first: 1) {{ totalCount }} }}") == plain + 5


@pytest.mark.parametrize(("field", "points"), [("confirmShipments", 10), ("refundOrders", 10), ("adjustStock", 1)])
def test_what_workers_carry_out_costs_more_than_what_is_done_at_once(public: Plans, field: str, points: int) -> None:
    kind = f"{field[0].upper()}{field[1:]}Input"
    query = f"mutation ($of: {kind}!) {{ {field}(input: $of) {{ operation {{ id }} }} }}"
    assert cost(public, query, of={}) == points + 1


@pytest.mark.parametrize(("field", "rows"), [("summary { lines }", 5), ("replaced { differing }", 1)])
def test_what_reads_all_lines_of_a_settlement_costs_more_than_what_it_answers(
    public: Plans, field: str, rows: int
) -> None:
    plain = cost(public, "{ settlements(first: 10) { nodes { id } } }")
    assert cost(public, f"{{ settlements(first: 10) {{ nodes {{ id {field} }} }} }}") == plain + 10 * rows * 5


@pytest.mark.parametrize(
    "shown",
    [
        "pageInfo { hasNextPage }",
        "...F",
        "__typename totalCount",
        "nodes { sku }",
        "pageInfo { hasNextPage } nodes { sku stock { sku } }",
    ],
)
def test_a_page_counts_as_what_is_read_for_it_whatever_is_shown(public: Plans, shown: str) -> None:
    query = f"query ($n: Int) {{ products(first: $n) {{ {shown} }} }}"
    if shown == "...F":
        query += " fragment F on ProductConnection { pageInfo { endCursor } }"
    least = 1 + (5 if "totalCount" in shown else 0)
    more = 2 if "stock" in shown else 1
    assert [cost(public, query, n=n) for n in (0, 10, 100)] == [least, least + more * 10, least + more * 100]
    assert (
        sum(points for _, points in public.of(query, None).bounds.cost_by_root({"n": 10}).values()) == least + more * 10
    )


def test_cost_above_the_limit_is_refused() -> None:
    plans = Plans(sample.schema._schema, sample.SCOPES, Limits(cost=100))
    assert cost(plans, "{ branches(first: 99) { nodes { name } } }") == 100
    assert refusal(plans, "{ branches(first: 100) { nodes { name } } }") == (
        "LIMIT_EXCEEDED",
        "The operation may cost 101; 100 is allowed. Ask for fewer at a time.",
    )


def test_the_main_question_fits(public: Plans) -> None:
    query = """query ($skus: [String!]!) { stock(skus: $skus, maxAge: "PT5M") {
      sku availableToSell onHand reserved inbound safetyStock asOf freshness
      levels { location { code name kind } onHand reserved inbound availableToSell asOf freshness }
      explanation { label quantity source asOf }
      product { title brand listings { channel { name } marketplace externalId status price { amount currency } } }
    } }"""
    assert cost(public, query, skus=["A"] * 250) == 250 * (1 + 5 + 5 + 1 + 5 + 5)


def test_entities_cost_as_many_as_are_represented(public: Plans) -> None:
    query = "query ($of: [_Any!]!) { _entities(representations: $of) { ... on Product { title stock { sku } } } }"
    one = {"__typename": "Product", "sku": "A"}
    assert cost(public, query, of=[one] * 250) == 500
    assert cost(public, query, of=one) == 2
    assert cost(public, "{ _service { sdl } }") == 100


def test_lists_without_bounds_multiply_until_they_are_refused(public: Plans) -> None:
    query = "{ products(first: 100) { nodes { listings { product { listings { product { listings { id } } } } } } } }"
    assert refusal(public, query)[0] == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    "options", [{}, {"input_value_deprecation": True, "specified_by_url": True, "directive_is_repeatable": True}]
)
def test_introspection_as_tools_send_it_passes_with_its_scope_and_not_without(
    public: Plans, options: dict[str, bool]
) -> None:
    plan = public.of(get_introspection_query(**options), None)
    assert plan.admit(Caller("tool", frozenset({"schema:read"})), {}) == 100
    for scopes in (frozenset[str](), ALL - {"schema:read", "admin"}):
        with pytest.raises(Rejected, match=r"Query\.__schema needs the scope schema:read"):
            plan.admit(Caller("shop", scopes), {})


@pytest.mark.parametrize(
    "query",
    [
        '{ __type(name: "Query") { name } }',
        "{ ...A } fragment A on Query { s: __schema { queryType { name } } }",
        'query ($on: Boolean! = false) { ... @include(if: $on) { __type(name: "Query") { name } } }',
    ],
)
def test_introspection_is_found_wherever_it_hides(public: Plans, query: str) -> None:
    with pytest.raises(Rejected) as caught:
        public.of(query, None).admit(Caller("shop", frozenset({"stock:read"})), {})
    assert caught.value.status == 403
    assert public.of('{ __typename stock(skus: ["A"]) { __typename } }', None).needs == (
        ("Query.stock", SCOPES["Query.stock"]),
    )


def test_names_near_to_a_mistake_are_told_to_whoever_may_read_the_schema(public: Plans) -> None:
    for query, near in (
        ('{ stokc(skus: ["A"]) { sku } }', "'stock'"),
        ('{ stock(skuz: ["A"]) { sku } }', "'skus'"),
        ("{ orders { nodes { ... on Odrer { id } } } }", "'Order'"),
    ):
        with pytest.raises(Rejected) as told:
            public.of(query, None, suggest=True)
        with pytest.raises(Rejected) as silent:
            public.of(query, None)
        assert near in str(told.value)
        assert "Did you mean" not in str(silent.value)


def test_introspection_in_circles_is_refused(public: Plans) -> None:
    query = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    assert refusal(public, query)[0] == "GRAPHQL_VALIDATION_FAILED"


def test_plans_are_kept_by_text_and_name_and_the_unused_go_first() -> None:
    plans = Plans(sample.schema._schema, sample.SCOPES, kept=2)
    first = plans.of("{ hello }", None)
    assert plans.of("{ hello }", None).document is first.document
    two = "query A { hello } query B { who }"
    assert (plans.of(two, "A").name, plans.of(two, "B").name) == ("A", "B")
    assert len(plans) == 2
    assert plans.of("{ hello }", None).document is not first.document


def test_plans_are_kept_within_their_bytes() -> None:
    plans = Plans(sample.schema._schema, sample.SCOPES, kept_bytes=1_000_000)
    small = plans.of("{ hello }", None)
    assert 32_000 < small.weight < 40_000
    long = 'query { hello(name: "%s") }'
    for number in range(20):
        plans.of(long % (str(number) * 90_000)[:90_000], None)
    assert len(plans) == 4  # of some 213 KB each
    assert plans._bytes == sum(one.weight for one in plans._plans.values()) <= 1_000_000
    assert plans.of("{ hello }", None) is not small


def test_refused_documents_are_not_kept(plans: Plans) -> None:
    refusal(plans, "{ hallo }")
    assert len(plans) == 0


@pytest.mark.parametrize(
    ("query", "name", "said"),
    [
        ("query A { hello } query B { who }", None, "exactly one operation"),
        ("query A { hello }", "B", "no operation named 'B'"),
        ("fragment F on Query { hello }", None, "exactly one operation"),
        ("type Query { a: Int }", None, "exactly one operation"),
    ],
)
def test_one_operation_must_be_meant(plans: Plans, query: str, name: str | None, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        plans.of(query, name)


def test_the_docs_name_the_limits_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "edge.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| ([^|]+) \| (\d+)", page, re.MULTILINE))
    limits = Limits()
    for words, most in (
        ("tokens of the document", limits.tokens),
        ("operations of the document", limits.operations),
        ("fragments", limits.fragments),
        ("levels", limits.depth),
        ("fields", limits.fields),
        ("aliases", limits.aliases),
        ("root fields", limits.root_fields),
        ("directives at one place", limits.directives),
        ("`first`", limits.page),
        ("cost", limits.cost),
    ):
        assert told[words] == str(most), words
