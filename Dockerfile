# One image for every process of a deployment: `docker run IMAGE run tally`, `... run judge`, `... init`.
# The Python is the one that the tests run on; the uv is the one that uv.lock pins, which a test compares.

FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.11.14-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/lifecycle \
    UV_PYTHON_DOWNLOADS=never
# An extra of pyproject.toml, for an image that can do more: --build-arg EXTRA=demo
ARG EXTRA=""
WORKDIR /src
# The dependencies are a layer of their own: they change seldom, the sources often.
RUN --mount=type=cache,target=/var/cache/uv \
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    --mount=type=bind,source=uv.lock,target=uv.lock \
    uv sync --locked --no-dev --no-install-project ${EXTRA:+--extra="$EXTRA"}
COPY pyproject.toml uv.lock README.md ./
COPY schemas schemas
COPY domain domain
COPY consumers consumers
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-dev --no-editable ${EXTRA:+--extra="$EXTRA"}

FROM python:3.11.14-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gal-friday-lifecycle" \
      org.opencontainers.image.description="Drift, experiments, promotion and retraining of models, recomputable from the log" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
RUN groupadd --gid 10001 lifecycle \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/lifecycle --shell /usr/sbin/nologin lifecycle \
 && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/lifecycle
# Owned by root, so that a process that was taken over cannot change its own program.
COPY --from=build /opt/lifecycle /opt/lifecycle
# Only the home is written, and /tmp by the libraries: the root file system may be read-only.
ENV PATH=/opt/lifecycle/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/lifecycle \
    LIFECYCLE_HOME=/var/lib/lifecycle \
    LIFECYCLE_METRICS_HOST=0.0.0.0 \
    LIFECYCLE_METRICS_PORT=9464
VOLUME /var/lib/lifecycle
WORKDIR /var/lib/lifecycle
USER 10001:10001
EXPOSE 9464
# The standard library only: importing the service would take longer than answering does. No proxy is asked.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['LIFECYCLE_METRICS_PORT']), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["lifecycle"]
CMD ["--help"]
