# One image for each process: docker build --target gateway . (or kafka-producer, redis-writer, consumer). `make images` builds all.
# Bases are arguments: BUILD_BASE needs Rust, C and C++ compilers, pkg-config and OpenSSL's headers; RUN_BASE glibc and libgcc.
ARG BUILD_BASE=rust:1.95-trixie
ARG RUN_BASE=gcr.io/distroless/cc-debian13:nonroot

FROM ${RUN_BASE} AS run

FROM ${BUILD_BASE} AS build
WORKDIR /src
COPY . .
# What was compiled before, and what was downloaded, stays in caches of the builder.
RUN --mount=type=cache,id=aguacero-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=aguacero-target,target=/src/target \
    set -eu; export CARGO_HOME=/usr/local/cargo; \
    cargo build --locked --release -p gateway -p kafka-producer -p redis-writer -p consumer --bins; \
    for program in gateway kafka-producer redis-writer consumer; do \
        install -D --strip "target/release/$program" "/out/$program/usr/local/bin/$program"; \
    done
# Libraries that the programs are linked to, and that the base to run on has not (distroless has no zlib).
RUN --mount=type=bind,from=run,target=/run-base \
    set -eu; \
    for program in gateway kafka-producer redis-writer consumer; do \
        ldd "/out/$program/usr/local/bin/$program" > /tmp/linked; \
        sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' /tmp/linked > /tmp/libraries; \
        while read -r library; do \
            file=$(realpath "$library"); name=$(dirname "$file")/$(basename "$library"); \
            [ -e "/run-base$name" ] || [ -e "/run-base${name#/usr}" ] || install -D "$file" "/out/$program$name"; \
        done < /tmp/libraries; \
    done

# ---------------------------------------------------------------- what is run

FROM run AS process
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Aguacero" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV AGUACERO_CONFIG=/etc/aguacero/aguacero.toml
USER 65532:65532

FROM process AS gateway
LABEL org.opencontainers.image.title="gateway" \
      org.opencontainers.image.description="Takes events over HTTP and answers 2xx only when they are in Kafka"
COPY --from=build /out/gateway/ /
EXPOSE 8080 9180
ENTRYPOINT ["/usr/local/bin/gateway"]
CMD ["run"]

FROM process AS kafka-producer
LABEL org.opencontainers.image.title="kafka-producer" \
      org.opencontainers.image.description="Takes slabs of events from the gateway over gRPC and puts them into Kafka"
COPY --from=build /out/kafka-producer/ /
EXPOSE 9181
ENTRYPOINT ["/usr/local/bin/kafka-producer"]
CMD ["run"]

FROM process AS redis-writer
LABEL org.opencontainers.image.title="redis-writer" \
      org.opencontainers.image.description="Takes counter deltas from the gateway over WebSocket and adds them to Redis"
COPY --from=build /out/redis-writer/ /
EXPOSE 9182
ENTRYPOINT ["/usr/local/bin/redis-writer"]
CMD ["run"]

FROM process AS consumer
LABEL org.opencontainers.image.title="consumer" \
      org.opencontainers.image.description="Archives Kafka's records in MongoDB and settles the counters in Redis"
COPY --from=build /out/consumer/ /
EXPOSE 9183
ENTRYPOINT ["/usr/local/bin/consumer"]
CMD ["run"]
