"""The conformance kit: does a shop keep the contract of docs/rest/openapi.yaml? It asks over HTTP
only, and knows nothing of the house."""
