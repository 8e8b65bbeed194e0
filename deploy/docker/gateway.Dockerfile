# The gateway, from the root of the checkout:
#
#   docker build -f deploy/docker/gateway.Dockerfile -t chorus-gateway .
#
# It holds no configuration and no secret: mount a file at /etc/chorus/config.toml. deploy/docker/README.md says
# how to pin the base image by its digest and how to use a package index of your own.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS=dns,grpc,mcp,otel,redis,socks,watch
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
LABEL org.opencontainers.image.title="Chorus gateway" \
      org.opencontainers.image.description="One HTTP server in front of many language models" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# a fixed number, so that `runAsNonRoot` can be checked and a volume can be given to it
RUN groupadd --gid 10001 chorus \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/chorus --shell /usr/sbin/nologin chorus \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/chorus
COPY --from=build /opt/chorus /opt/chorus
# the configuration is /etc/chorus/config.toml, and what is written is in /var/lib/chorus
ENV PATH=/opt/chorus/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/chorus \
    XDG_CONFIG_HOME=/etc \
    XDG_DATA_HOME=/var/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/chorus
VOLUME /var/lib/chorus
USER 10001:10001
EXPOSE 11435
STOPSIGNAL SIGTERM
# whether the process lives; whether it is ready is what a load balancer asks
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["chorus", "health", "--live"]
# no shell in between: SIGTERM reaches Python
ENTRYPOINT ["chorus"]
CMD ["serve", "--host", "0.0.0.0"]
