# The list of commands; `make` alone prints it. The scripts do the work and install what they need.

.DEFAULT_GOAL := help
.PHONY: help demo up look down test lint cluster cluster-up cluster-down cluster-test chaos chaos-tables rolling-restarts fuzz siege \
        perf perf-quick kafka-study routes fan-in tables-throughput chat-compare images manuals clean

help: ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## 10,000 weather tweets through everything, and the count of each store (KEEP=1 leaves it up; APP=votes: votes, two routes; APP=guild: street vendors)
	@scripts/demo

up: ## services and the processes, to stay; again, the processes anew (PORT=8080 APP=votes CONFIG=aguacero.toml)
	@scripts/demo up

look: ## what is stored and counted, of what is up
	@scripts/demo look

down: ## stop what `make up` or `KEEP=1 make demo` left, and delete its data
	@scripts/demo down

test: ## lints, tests on real Kafka, MongoDB and Redis, and the instructions of the hot path
	@scripts/test

lint: ## rustfmt and clippy, warnings denied
	@scripts/test lint

cluster: ## a real Kubernetes on this machine, 10,000 tweets through its Ingress, and every count (APP=votes, APP=guild, KEEP=1, CONTEXT=kind-…)
	@scripts/cluster run

cluster-up: ## that Kubernetes alone, to stay: scripts/cluster kubectl …
	@scripts/cluster up

cluster-down: ## end it, and delete its data
	@scripts/cluster down

cluster-test: ## rolling updates, kills, scaling, policies and passwords on it, under load (about 25 minutes; ARGS="rolling --out FOLDER")
	@scripts/cluster test $(ARGS)

images: ## container images of all processes, their sizes and what is in them (ARGS="--registry NAME --tag 0.1.0 --push")
	@scripts/images $(ARGS)

manuals: ## the user manual and the technical one, in English and Spanish, as PDF: docs/manuals (scripts/manuals test: their commands)
	@scripts/manuals

chaos: ## kills, outages and mixtures of them under load, judged (ARGS="--rounds 40 --brokers 3 --members 3")
	@scripts/chaos $(ARGS)

chaos-tables: ## kills of consumer tables and of PostgreSQL under load: is each event one row? (about 20 minutes; ARGS="--kills 20 --postgres-kills 5")
	@scripts/chaos --tables $(ARGS)

rolling-restarts: ## gateways restarted under load: is one request lost? (ARGS="--restarts 1000 --gateways 2")
	@scripts/rolling-restarts $(ARGS)

fuzz: ## what strangers send, invented, led by coverage (about 12 minutes; ARGS="--seconds 60 --target decode")
	@scripts/fuzz $(ARGS)

siege: ## slow and flooding clients of each kind beside a good one (about 9 minutes; ARGS="--only h2")
	@scripts/siege $(ARGS)

perf: ## Aguacero beside its limits, and a report in perf-reports/ (about 30 minutes)
	@scripts/perf --out $(ARGS)

perf-quick: ## the same in short, printed (about 6 minutes; ARGS="--only durable")
	@scripts/perf --rounds 3 --seconds 1.5 $(ARGS)

kafka-study: ## how Kafka behaves: the tables and plots of docs/kafka.md (about 15 minutes; ARGS="--only acks")
	@scripts/kafka-study $(ARGS)

routes: ## gRPC beside WebAssembly, and what makes the difference: docs/routes.md (about 9 minutes; ARGS="--rounds 5 --seconds 3 --only latency")
	@scripts/routes $(ARGS)

fan-in: ## one gateway, ten and fifty before three brokers: the figures of docs/scale.md (about 10 minutes)
	@scripts/fan-in $(ARGS)

tables-throughput: ## a million rows by consumer tables, beside COPY of the same rows (about 5 minutes; ARGS="--rows 100000 --rounds 5"; ARGS="--connect": Kafka Connect too)
	@scripts/tables-throughput $(ARGS)

chat-compare: ## the chat over gRPC beside the one over RabbitMQ: docs/chat.md (about 7 minutes; ARGS="--rounds 3 --only speed")
	@scripts/chat-compare $(ARGS)

clean: ## remove what was built
	@cargo clean
