"""Every operation of the carriers' contract that is called, by its id there. Source: docs/carrier/openapi.yaml."""

from __future__ import annotations

from adapters.rest.client import Operation

GET_ACCOUNT = Operation("getAccount", "GET", "/")
RATES = Operation("rates", "POST", "/rates")
BUY_LABEL = Operation("buyLabel", "POST", "/labels", write=True)
LIST_LABELS = Operation("listLabels", "GET", "/labels")
GET_LABEL = Operation("getLabel", "GET", "/labels/{id}")
VOID_LABEL = Operation("voidLabel", "POST", "/labels/{id}/void", write=True)
GET_DOCUMENT = Operation("getDocument", "GET", "/labels/{id}/document")
