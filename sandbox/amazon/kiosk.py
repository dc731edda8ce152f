"""Data Kiosk 2023-11-15: queries that are answered over sandbox time, with documents of JSON lines."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from graphql import GraphQLError, execute_sync, parse, strip_ignored_characters, validate
from starlette.routing import BaseRoute, Route

from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure, not_found
from sandbox.amazon.kiosk_data import SCHEMA, Asker
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query, seal, unseal
from sandbox.amazon.reports import STATUSES
from sandbox.amazon.state import Amazon
from sandbox.control import answer, endpoint, number
from sandbox.journal import iso

PARAMETERS = ("processingStatuses", "pageSize", "createdSince", "createdUntil", "paginationToken")
LONGEST = 8000
KEPT = timedelta(days=30)
_TYPE = "application/jsonl; charset=UTF-8"


@dataclass(slots=True)
class Inquiry:
    """One query. `first` is the record its document begins with; `status` is None until it has ended."""

    id: str
    account: Account
    text: str
    first: int
    created_at: datetime
    created_s: float
    queue_s: float
    status: str | None = None
    ended_at: datetime | None = None
    data_id: str | None = None
    error_id: str | None = None
    rest: str | None = None


class Kiosk:
    """All queries of a sandbox. A document holds `page` records; what is beyond is asked for by another query."""

    def __init__(self, amazon: Amazon) -> None:
        self._amazon = amazon
        self.queue_s, self.progress_s = 10.0, 20.0
        self.page = 10_000
        self._inquiries: dict[str, Inquiry] = {}

    def create(self, account: Account, body: object) -> dict[str, str]:
        """{"queryId"}. Source: createQuery."""
        if (
            not isinstance(body, dict)
            or set(body) - {"query", "paginationToken"}
            or not isinstance(body.get("query"), str)
        ):
            raise _wrong("The request body is invalid.", "'query' is required.")
        text = body["query"]
        try:
            length = len(strip_ignored_characters(text))
            problems = validate(SCHEMA, parse(text))
        except GraphQLError as problem:
            raise _wrong("The provided query is invalid.", problem.message) from problem
        if problems or length > LONGEST:
            words = problems[0].message if problems else f"The query is longer than {LONGEST} characters."
            raise _wrong("The provided query is invalid.", words)
        first = self._first(account, text, body.get("paginationToken"))
        query_id = str(80_000_000 + len(self._inquiries))
        now = self._amazon.clock.now()
        inquiry = Inquiry(query_id, account, text, first, now, self._amazon.clock.seconds(), self.queue_s)
        self._inquiries[query_id] = inquiry
        self._amazon.later(lambda: self._finish(inquiry), self.queue_s + self.progress_s)
        self._amazon.journal.effect("createQuery", query_id, {"sellerId": account.seller})
        return {"queryId": query_id}

    def found(self, account: Account, query_id: str) -> Inquiry:
        inquiry = self._inquiries.get(query_id)
        if inquiry is None or inquiry.account is not account or self._gone(inquiry):
            raise not_found("The provided queryId was not found.")
        return inquiry

    def cancel(self, account: Account, query_id: str) -> None:
        """What has ended stays; to cancel what is cancelled does nothing. Source: cancelQuery."""
        inquiry = self.found(account, query_id)
        if inquiry.status in ("DONE", "FATAL"):
            raise _wrong("Invalid input", f"The query is {inquiry.status}.")
        if inquiry.status is None:
            inquiry.status, inquiry.ended_at = "CANCELLED", self._amazon.clock.now()
            self._amazon.notices.answered(account.seller, self.shown(inquiry))
            self._amazon.journal.effect("cancelQuery", query_id, {"sellerId": account.seller})

    def document(self, account: Account, document_id: str) -> dict[str, str]:
        """Source: getDocument. A packed one says so itself, by its Content-Encoding."""
        for inquiry in self._inquiries.values():
            mine = inquiry.account is account and not self._gone(inquiry)
            if mine and document_id in (inquiry.data_id, inquiry.error_id):
                return {
                    "documentId": document_id,
                    "documentUrl": self._amazon.documents.address(document_id, encoded=True),
                }
        raise not_found("The provided documentId was not found.")

    def listed(self, account: Account, query: Query) -> dict[str, Any]:
        """One page, newest first. A token goes along with the filters it came with. Source: getQueries."""
        size = query.count("pageSize", 1, 100, 10)
        statuses = query.csv("processingStatuses", among=STATUSES)
        since, until = query.instant("createdSince"), query.instant("createdUntil")
        bound = query.digest(without=["paginationToken", "pageSize"])
        start = 0
        if token := query.text("paginationToken"):
            contents = unseal(token)
            if contents is None or contents.get("to") != "queries" or contents["for"] != bound:
                raise query.wrong("'paginationToken' is invalid.")
            start = contents["at"]
        found = [
            inquiry
            for inquiry in reversed(self._inquiries.values())
            if inquiry.account is account
            and not self._gone(inquiry)
            and (not statuses or self._status(inquiry) in statuses)
            and (since is None or inquiry.created_at >= since)
            and (until is None or inquiry.created_at <= until)
        ]
        shown: dict[str, Any] = {"queries": [self.shown(inquiry) for inquiry in found[start : start + size]]}
        if len(found) > start + size:
            shown["pagination"] = {"nextToken": seal({"to": "queries", "at": start + size, "for": bound})}
        return shown

    def shown(self, inquiry: Inquiry) -> dict[str, Any]:
        """As a read shows it."""
        shown: dict[str, Any] = {
            "queryId": inquiry.id,
            "query": inquiry.text,
            "createdTime": iso(inquiry.created_at),
            "processingStatus": self._status(inquiry),
        }
        if self._status(inquiry) not in ("IN_QUEUE", "CANCELLED"):
            shown["processingStartTime"] = iso(inquiry.created_at + timedelta(seconds=inquiry.queue_s))
        if inquiry.ended_at is not None:
            shown["processingEndTime"] = iso(inquiry.ended_at)
        ids = {"dataDocumentId": inquiry.data_id, "errorDocumentId": inquiry.error_id}
        shown |= {name: document_id for name, document_id in ids.items() if document_id is not None}
        if inquiry.rest is not None:
            shown["pagination"] = {"nextToken": inquiry.rest}
        return shown

    def _finish(self, inquiry: Inquiry) -> None:
        """Answer it from the world as it is, unless it was cancelled."""
        if inquiry.status is None:
            self._answer(inquiry)
            self._amazon.notices.answered(inquiry.account.seller, self.shown(inquiry))

    def _answer(self, inquiry: Inquiry) -> None:
        """No records, no document."""
        result = execute_sync(SCHEMA, parse(inquiry.text), context_value=Asker(self._amazon, inquiry.account))
        inquiry.ended_at = self._amazon.clock.now()
        if result.errors:
            inquiry.status = "FATAL"
            words = json.dumps({"errors": [{"message": problem.message} for problem in result.errors]})
            inquiry.error_id = self._amazon.documents.put(words.encode(), "application/json")
            return
        # Beside datasets a query may ask for words about the schema, which are no records.
        datasets = (dataset for name, dataset in (result.data or {}).items() if not name.startswith("__"))
        told = (found for dataset in datasets for found in dataset.values() if isinstance(found, list))
        records = [record for found in told for record in found if isinstance(record, dict)]
        page = records[inquiry.first : inquiry.first + self.page]
        inquiry.status = "DONE"
        if page:
            lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in page)
            inquiry.data_id = self._amazon.documents.put(lines.encode(), _TYPE, gzip=True)
        if len(records) > inquiry.first + self.page:
            inquiry.rest = seal(
                {"to": "data", "of": inquiry.account.seller, "for": inquiry.text, "at": inquiry.first + self.page}
            )

    def _first(self, account: Account, text: str, token: object) -> int:
        if token is None:
            return 0
        contents = unseal(token) if isinstance(token, str) else None
        if contents is None or (contents.get("to"), contents.get("of"), contents.get("for")) != (
            "data",
            account.seller,
            text,
        ):
            raise _wrong("The provided paginationToken is invalid.", "It belongs to another query.")
        return int(contents["at"])

    def _status(self, inquiry: Inquiry) -> str:
        if inquiry.status is not None:
            return inquiry.status
        age_s = self._amazon.clock.seconds() - inquiry.created_s
        return "IN_QUEUE" if age_s < inquiry.queue_s else "IN_PROGRESS"

    def _gone(self, inquiry: Inquiry) -> bool:
        return inquiry.created_at < self._amazon.clock.now() - KEPT


def kiosk_of(amazon: Amazon) -> Kiosk:
    """The kiosk of a sandbox, the same at each asking."""
    kept: Kiosk | None = amazon.areas.get(Kiosk)
    if kept is None:
        kept = amazon.areas[Kiosk] = Kiosk(amazon)
    return kept


def _wrong(message: str, details: str) -> Failure:
    return Failure(400, "InvalidInput", message, details)


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""

    kiosk = kiosk_of(amazon)

    def one(asked: Asked) -> dict[str, Any]:
        return kiosk.shown(kiosk.found(asked.account, asked.path["queryId"]))

    path = "/dataKiosk/2023-11-15/queries"
    single, documents = path + "/{queryId}", "/dataKiosk/2023-11-15/documents/{documentId}"
    return [
        Operation("createQuery", "POST", path, lambda asked: kiosk.create(asked.account, asked.body), status=202),
        Operation("getQueries", "GET", path, lambda asked: kiosk.listed(asked.account, asked.query), PARAMETERS),
        Operation("getQuery", "GET", single, one),
        Operation(
            "cancelQuery",
            "DELETE",
            single,
            lambda asked: kiosk.cancel(asked.account, asked.path["queryId"]),
            status=204,
        ),
        Operation(
            "getDocument", "GET", documents, lambda asked: kiosk.document(asked.account, asked.path["documentId"])
        ),
    ]


def routes(amazon: Amazon) -> list[BaseRoute]:
    """How long queries take, and how many records a document holds."""
    kiosk = kiosk_of(amazon)

    def shown(_: object = None) -> dict[str, Any]:
        return {"queueSeconds": kiosk.queue_s, "progressSeconds": kiosk.progress_s, "records": kiosk.page}

    def change(body: dict[str, Any]) -> dict[str, Any]:
        if not body or set(body) - {"queueSeconds", "progressSeconds", "records"}:
            raise ValueError('send "queueSeconds", "progressSeconds" or "records"')
        values = {**shown(), **{name: number(body, name) for name in body}}
        if min(values["queueSeconds"], values["progressSeconds"]) < 0 or values["records"] < 1:
            raise ValueError("seconds are not negative, and a document holds one record at least")
        kiosk.queue_s, kiosk.progress_s = values["queueSeconds"], values["progressSeconds"]
        kiosk.page = int(values["records"])
        return shown()

    return [
        Route("/kiosk", endpoint(shown), methods=["GET"]),
        Route("/kiosk", answer(change), methods=["POST"]),
    ]
