"""Every operation of the contract that is called, by its id there. Source: docs/rest/openapi.yaml."""

from __future__ import annotations

from adapters.rest.client import Operation

GET_SHOP = Operation("getShop", "GET", "/")

LIST_PRODUCTS = Operation("listProducts", "GET", "/products", part="products")
GET_PRODUCT = Operation("getProduct", "GET", "/products/{id}", part="products")
LIST_VARIANTS = Operation("listVariants", "GET", "/variants", part="products")
PATCH_VARIANTS = Operation("patchVariants", "PATCH", "/variants:bulk", part="prices", write=True)

LIST_LOCATIONS = Operation("listLocations", "GET", "/locations", part="stock")
LIST_STOCK = Operation("listStock", "GET", "/stock", part="stock")
PATCH_STOCK = Operation("patchStock", "PATCH", "/stock:bulk", part="stock_write", write=True)

LIST_ORDERS = Operation("listOrders", "GET", "/orders", part="orders")
GET_ORDER = Operation("getOrder", "GET", "/orders/{id}", part="orders")
CANCEL_ORDER = Operation("cancelOrder", "POST", "/orders/{id}/cancel", part="cancel", write=True)
CREATE_SHIPMENT = Operation("createShipment", "POST", "/orders/{id}/shipments", part="shipments", write=True)
GET_SHIPMENT = Operation("getShipment", "GET", "/shipments/{id}", part="shipments")
PATCH_SHIPMENT = Operation("patchShipment", "PATCH", "/shipments/{id}", part="shipments", write=True)
DELETE_SHIPMENT = Operation("deleteShipment", "DELETE", "/shipments/{id}", part="shipments", write=True)
LIST_REFUNDS = Operation("listRefunds", "GET", "/orders/{id}/refunds", part="refunds")
CREATE_REFUND = Operation("createRefund", "POST", "/orders/{id}/refunds", part="refunds", write=True)

LIST_PAYOUTS = Operation("listPayouts", "GET", "/payouts", part="payouts")
LIST_TRANSACTIONS = Operation("listTransactions", "GET", "/transactions", part="payouts")

LIST_ENDPOINTS = Operation("listEndpoints", "GET", "/webhook-endpoints", part="webhooks")
CREATE_ENDPOINT = Operation("createEndpoint", "POST", "/webhook-endpoints", part="webhooks", write=True)
DELETE_ENDPOINT = Operation("deleteEndpoint", "DELETE", "/webhook-endpoints/{id}", part="webhooks", write=True)
