# One image for every service, without a shell and not as root. Needs no BuildKit.
#
#   docker build --tag foreshock:0.1.0 .                                       compiles
#   docker build --tag foreshock:0.1.0 --target finished -f Dockerfile FOLDER   takes FOLDER/foreshock as it is
#
# Where no registry is reachable, scripts/deployment/base_images.sh makes the runtime base under the same name.

# glibc, libgcc and CA certificates, user 65532 (ops.md 12). Builder and runtime have the same glibc: Debian 12.
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot
ARG BUILDER=rust:1.95-slim-bookworm

FROM ${RUNTIME} AS runtime

FROM ${RUNTIME} AS service
# An empty folder of the service's own user: a volume that is mounted here belongs to it.
COPY --from=runtime --chown=65532:65532 /tmp /var/log/foreshock
LABEL org.opencontainers.image.title="foreshock" \
      org.opencontainers.image.description="Early warning of liquidation cascades and open-interest explosions" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
# Each container answers within its own network namespace; nobody publishes this but on loopback.
ENV FORESHOCK_HTTP_LISTEN=0.0.0.0:9180 FORESHOCK_LOG_FORMAT=json
EXPOSE 9180
HEALTHCHECK --interval=30s --timeout=3s --retries=3 --start-period=60s CMD ["/foreshock", "health"]
ENTRYPOINT ["/foreshock"]

# The finished binary, so that tests compile nothing twice.
FROM service AS finished
COPY foreshock /foreshock
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"

FROM ${BUILDER} AS build
WORKDIR /src
# Dependencies first: they are compiled again only when a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY schemas/Cargo.toml schemas/
COPY nats/Cargo.toml nats/
COPY ingest/Cargo.toml ingest/
COPY detect/Cargo.toml detect/
COPY notify/Cargo.toml notify/
RUN for crate in . schemas nats ingest detect notify; do mkdir -p $crate/src && touch $crate/src/lib.rs; done \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --locked --release --bin foreshock
COPY . .
RUN find . -name '*.rs' -exec touch {} + && cargo build --locked --release --bin foreshock && mv target/release/foreshock /foreshock

FROM service
COPY --from=build /foreshock /foreshock
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"
