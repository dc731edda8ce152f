"""Submitting changes of one listing. Source: Listings Items 2021-08-01, patchListingsItem.

Amazon answers a refused submission with HTTP 200: what became of it stands in its status alone. ACCEPTED is not yet visible and
may still come to nothing: only a read-back proves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adapters.amazon.client import Client
from adapters.amazon.listings import Issue, path
from adapters.amazon.marketplaces import Marketplace
from adapters.amazon.patches import Patch
from adapters.port import BeforeSend, Receipt
from adapters.wire import Wire
from domain.budget import Ask
from domain.errors import Refused
from domain.ids import ChannelSku

OPERATION = "patchListingsItem"
# Fits a SKU of any type, as long as only its offer changes.
ANY_TYPE = "PRODUCT"
LOCALE = "en_US"


@dataclass(frozen=True, slots=True)
class Finding:
    """What Amazon says about a submission or a listing: `severity` is ERROR, WARNING or INFO, `actions` what it does about it
    now."""

    code: str
    severity: str
    message: str
    attributes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Does it stand in the way?"""
        return self.severity == "ERROR"


class Declined(Refused):
    """Amazon has kept nothing of a submission; `findings` say why, and whatever else it had to say."""

    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of a submission."""

    valid: bool
    findings: tuple[Finding, ...]
    upstream_request_id: str | None


class Answered(Wire):
    """What every submission is answered with."""

    submission_id: str
    issues: tuple[Issue, ...] = ()


class Submission(Answered):
    """What became of patches. Of INVALID ones nothing is kept."""

    status: Literal["ACCEPTED", "INVALID"]


class Rehearsal(Answered):
    """What would become of patches."""

    status: Literal["VALID", "INVALID"]


async def preview(
    client: Client,
    seller_id: str,
    store: Marketplace,
    sku: ChannelSku,
    patches: Sequence[Patch],
    ask: Ask,
    *,
    product_type: str = ANY_TYPE,
) -> Preview:
    """Let Amazon judge the patches without carrying them out. Raises Transient for an answer that is neither yes nor no."""
    answered, request_id = await client.read(
        OPERATION,
        path(seller_id, sku),
        _body(product_type, patches),
        ask,
        Rehearsal,
        method="PATCH",
        query={**_query(store), "mode": "VALIDATION_PREVIEW"},
    )
    return Preview(answered.status == "VALID", findings(answered.issues, store), request_id)


async def submit(
    client: Client,
    seller_id: str,
    store: Marketplace,
    sku: ChannelSku,
    patches: Sequence[Patch],
    ask: Ask,
    before_send: BeforeSend,
    *,
    product_type: str = ANY_TYPE,
    what: str = "the change",
) -> Receipt:
    """Have the patches carried out in one marketplace; the receipt names the submission. `what` it is, for people.

    Raises Declined when Amazon keeps nothing of it, other Refused for what it does not even look at, OutcomeUnknown for an answer
    that is lost or says neither yes nor no.
    """
    answered, request_id = await client.change(
        OPERATION,
        "PATCH",
        path(seller_id, sku),
        ask,
        before_send,
        Submission,
        query=_query(store),
        body=_body(product_type, patches),
    )
    if answered.status == "INVALID":
        raise declined(f"{what} of {sku}", findings(answered.issues, store), request_id)
    return Receipt(request_id, answered.submission_id)


def declined(what: str, told: Sequence[Finding], request_id: str | None) -> Declined:
    """The refusal of `what`, in Amazon's own words."""
    worst = [one for one in told if one.wrong] or list(told)
    words = " ".join(dict.fromkeys(one.message for one in worst)) or "no reason given."
    problem = Declined(
        f"Amazon refuses {what}: {words}",
        upstream_request_id=request_id,
        upstream_code=worst[0].code if worst else None,
    )
    problem.findings = tuple(told)
    return problem


def findings(issues: Sequence[Issue], store: Marketplace) -> tuple[Finding, ...]:
    """What concerns the marketplace."""
    return tuple(
        Finding(
            code=one.code,
            severity=one.severity,
            message=one.message,
            attributes=one.attribute_names,
            actions=one.enforcements.in_force,
        )
        for one in issues
        if not one.marketplace_ids or store.id in one.marketplace_ids
    )


def _query(store: Marketplace) -> dict[str, str | Sequence[str]]:
    return {"marketplaceIds": [store.id], "includedData": ["issues"], "issueLocale": LOCALE}


def _body(product_type: str, patches: Sequence[Patch]) -> dict[str, object]:
    return {"productType": product_type, "patches": [one.body() for one in patches]}
