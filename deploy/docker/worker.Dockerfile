# An inference worker with llama.cpp, from the root of the checkout:
#
#   docker build -f deploy/docker/worker.Dockerfile -t chorus-worker .
#
# It holds no model: mount a folder with a .gguf file at /models. deploy/docker/README.md says how to pin the base
# image by its digest and how to use a package index of your own.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS=llamacpp,otel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY . .
RUN python -m venv /opt/chorus
# a pip.conf that is given as the secret `pip` is there for this step only, and in no layer
RUN --mount=type=secret,id=pip,target=/etc/pip.conf /opt/chorus/bin/pip install ".[${EXTRAS}]"

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Chorus inference worker" \
      org.opencontainers.image.description="One language model over gRPC, by llama.cpp" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# llama.cpp is built with OpenMP; a version would be gone from the mirrors after the next point release
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 chorus \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin chorus
COPY --from=build /opt/chorus /opt/chorus
# a configuration, where there is one, is /etc/chorus/config.toml; nothing is written
ENV PATH=/opt/chorus/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/nonexistent \
    XDG_CONFIG_HOME=/etc \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CHORUS_WORKER_HOST=0.0.0.0
WORKDIR /
USER 10001:10001
EXPOSE 50051 8001
STOPSIGNAL SIGTERM
# its port is closed until the model has generated a first token: a large one takes minutes
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 CMD ["chorus", "health", "--worker"]
# no shell in between: SIGTERM reaches Python
ENTRYPOINT ["chorus"]
CMD ["worker"]
