# One image for gateway, worker and migrations; the command decides which.
FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /venv
COPY requirements.runtime.lock pyproject.toml README.md LICENSE ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.runtime.lock
COPY domain domain
COPY store store
COPY adapters adapters
COPY resolvers resolvers
COPY workers workers
COPY schema schema
COPY executor executor
COPY gateway gateway
COPY conformance conformance
COPY sandbox sandbox
# What builds the package comes with pip's own isolated build and does not stay.
RUN /venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home acorn
COPY --from=build /venv /venv
# GraphiQL's assets are installed with Node, which is not here.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ACORN_LOG_FORMAT=json ACORN_HOST=0.0.0.0 ACORN_GRAPHIQL=false
WORKDIR /srv
USER acorn
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["acorn", "serve"]
