# One image for each process: docker build --target gateway . (or kafka-producer, wasm-producer, redis-writer, consumer, console, guild, chat).
# `make images` builds all.
# Bases are arguments: BUILD_BASE needs Rust, C and C++ compilers, pkg-config and OpenSSL's headers; RUN_BASE glibc and libgcc.
ARG BUILD_BASE=rust:1.95-trixie
ARG RUN_BASE=gcr.io/distroless/cc-debian13:nonroot

FROM ${RUN_BASE} AS run

FROM ${BUILD_BASE} AS source
WORKDIR /src
COPY . .

FROM source AS build
# What was compiled before, and what was downloaded, stays in caches of the builder.
RUN --mount=type=cache,id=aguacero-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=aguacero-target,target=/src/target \
    set -eu; export CARGO_HOME=/usr/local/cargo; \
    cargo build --locked --release -p gateway -p kafka-producer -p wasm-producer -p redis-writer -p consumer -p console -p guild -p chat --bins; \
    for program in gateway kafka-producer wasm-producer redis-writer consumer console guild chat; do \
        install -D --strip "target/release/$program" "/out/$program/usr/local/bin/$program"; \
    done
# What the chat's processes keep, of the user that they are.
RUN install -d -m 0700 /out-owned/chat
# Libraries that the programs are linked to, and that the base to run on has not (distroless has no zlib).
RUN --mount=type=bind,from=run,target=/run-base \
    set -eu; \
    for program in gateway kafka-producer wasm-producer redis-writer consumer console guild chat; do \
        ldd "/out/$program/usr/local/bin/$program" > /tmp/linked; \
        sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' /tmp/linked > /tmp/libraries; \
        while read -r library; do \
            file=$(realpath "$library"); name=$(dirname "$file")/$(basename "$library"); \
            [ -e "/run-base$name" ] || [ -e "/run-base${name#/usr}" ] || install -D "$file" "/out/$program$name"; \
        done < /tmp/libraries; \
    done

# The module of the wasm-producer. Rust's library for WebAssembly comes by rustup, or else of Debian's archive, whose lists an image lacks.
FROM source AS wasm
RUN --mount=type=cache,id=aguacero-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=aguacero-wasm-target,target=/src/target \
    --mount=type=cache,id=aguacero-wasm-toolchain,target=/var/cache/aguacero \
    set -eu; export CARGO_HOME=/usr/local/cargo AGUACERO_CACHE=/var/cache/aguacero; \
    rustup target add wasm32-unknown-unknown || apt-get update -q; \
    scripts/wasm; \
    install -D -m 0444 -t /out/usr/share/aguacero target/wasm/producer.wasm target/wasm/producer.wasm.sha256

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

FROM process AS wasm-producer
LABEL org.opencontainers.image.title="wasm-producer" \
      org.opencontainers.image.description="Takes slabs of events as the kafka-producer does, and runs the producer as a WebAssembly module"
COPY --from=build /out/wasm-producer/ /
COPY --from=wasm /out/ /
EXPOSE 9185
ENTRYPOINT ["/usr/local/bin/wasm-producer"]
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

FROM process AS console
LABEL org.opencontainers.image.title="console" \
      org.opencontainers.image.description="Counters, archive, dead letters and the state of every process, in a browser"
COPY --from=build /out/console/ /
EXPOSE 8090 9184
ENTRYPOINT ["/usr/local/bin/console"]
CMD ["run"]

FROM process AS guild
LABEL org.opencontainers.image.title="guild" \
      org.opencontainers.image.description="The processors of the guild of street vendors: daily sales, stock, locations"
COPY --from=build /out/guild/ /
EXPOSE 9187 9188 9189
ENTRYPOINT ["/usr/local/bin/guild"]
CMD ["--help"]

FROM process AS chat
LABEL org.opencontainers.image.title="chat" \
      org.opencontainers.image.description="A chat over gRPC and over RabbitMQ: server and client"
COPY --from=build /out/chat/ /
COPY --from=build --chown=65532:65532 /out-owned/chat/ /var/lib/chat/
EXPOSE 7070
ENTRYPOINT ["/usr/local/bin/chat"]
CMD ["--help"]
