"""What one query may ask for, and that finding it out is cheap."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query

from gateway.limits import Limits
from gateway.plan import Plans, Rejected
from resolvers.context import Caller
from schema.root import schema as public_schema
from schema.scopes import ALL, SCOPES
from tests.gateway import toy

ADMIN = Caller("admin", ALL)


@pytest.fixture
def plans() -> Plans:
    return Plans(toy.schema._schema, toy.SCOPES)


@pytest.fixture
def public() -> Plans:
    return Plans(public_schema._schema, SCOPES)


def refusal(plans: Plans, query: str, **variables: Any) -> tuple[str, str]:
    """(code, message) of what is refused; fails when it is not."""
    with pytest.raises(Rejected) as caught:
        plans.of(query, None).admit(ADMIN, variables)
    return (caught.value.error.extensions or {})["code"], caught.value.error.message


def cost(plans: Plans, query: str, **variables: Any) -> int:
    return plans.of(query, None).admit(ADMIN, variables)


def nested(levels: int) -> str:
    return "{ branches { nodes " + "{ child " * (levels - 3) + "{ name }" + " }" * (levels - 3) + " } }"


def spreads(last: str, fragments: int = 40) -> str:
    """Fragments that each spread the next one twice: 2^fragments of what stands in the last."""
    chain = "".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}\n" for i in range(fragments - 1))
    return f"{{ ...F0 }}\n{chain}fragment F{fragments - 1} on Query {last}"


@pytest.mark.parametrize("last", ["{ hello }", "{ a: hello }", "{}", "{ branches { totalCount } }"])
def test_a_bomb_of_fragments_is_refused_at_once(plans: Plans, last: str) -> None:
    # Our own time, the best of three: the garbage of all the tests before is collected now and then.
    took = []
    for _ in range(3):
        began = time.process_time()
        code, message = refusal(plans, spreads(last))
        took.append(time.process_time() - began)
    assert min(took) < 0.02
    assert code == "LIMIT_EXCEEDED"
    assert "millions of" in message


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
            "{ branches { " + "totalCount " * 499 + "} }",
            "{ branches { " + "totalCount " * 500 + "} }",
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


def test_cost_multiplies_lists_within_lists(plans: Plans) -> None:
    assert cost(plans, "{ hello }") == 0
    assert cost(plans, "{ branches(first: 10) { totalCount nodes { name child { name } } } }") == 1 + 10 + 10
    assert cost(plans, "{ branches { nodes { name } } }") == 1 + 50
    query = "query ($skus: [String!]!) { stock(skus: $skus) { name child { name } } }"
    assert cost(plans, query, skus=["A"] * 250) == 500
    assert cost(plans, query, skus="A") == 2
    assert cost(plans, '{ stock(skus: ["A", "B", "C"]) { name } }') == 3


def test_cost_above_the_limit_is_refused() -> None:
    plans = Plans(toy.schema._schema, toy.SCOPES, Limits(cost=100))
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


def test_lists_without_bounds_multiply_until_they_are_refused(public: Plans) -> None:
    query = "{ products(first: 100) { nodes { listings { product { listings { product { listings { id } } } } } } } }"
    assert refusal(public, query)[0] == "LIMIT_EXCEEDED"


def test_introspection_works_for_whoever_has_a_key(public: Plans) -> None:
    plan = public.of(get_introspection_query(), None)
    assert plan.needs == ()
    assert plan.admit(Caller("nobody", frozenset()), {}) == 100


def test_introspection_in_circles_is_refused(public: Plans) -> None:
    query = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    assert refusal(public, query)[0] == "GRAPHQL_VALIDATION_FAILED"


def test_plans_are_kept_by_text_and_name_and_the_unused_go_first() -> None:
    plans = Plans(toy.schema._schema, toy.SCOPES, kept=2)
    first = plans.of("{ hello }", None)
    assert plans.of("{ hello }", None) is first
    two = "query A { hello } query B { who }"
    assert (plans.of(two, "A").name, plans.of(two, "B").name) == ("A", "B")
    assert len(plans) == 2
    assert plans.of("{ hello }", None) is not first


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
