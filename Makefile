.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench fuzz openapi format lock clean

BIN := .venv/bin
LOCKS := requirements/uv.txt requirements/core.txt requirements/sandbox.txt requirements/dev.txt
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --no-emit-index-url \
           --no-emit-find-links --universal --python-version 3.11
ONCE ?=

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  \033[1m%-8s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## Create .venv with everything from the lock files (the other commands do it for you)

.venv/ready: $(LOCKS) pyproject.toml
	@test -x $(BIN)/python || python3 -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --require-hashes $(LOCKS)
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/ready ## Start everything, close a deal in the CRM and follow it to cash (ONCE=1 exits after it)
	@$(BIN)/tiergate demo $(if $(ONCE),--once)

test: .venv/ready tests/end_to_end/peers/node_modules/.ready openapi/rules/node_modules/.ready ## Run every test, with real servers on loopback
	@$(BIN)/tiergate sandbox --prepare --instances 2
	@$(BIN)/pytest

%/node_modules/.ready: %/package-lock.json .venv/ready
	@cd $* && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/.ready

check: .venv/ready openapi/rules/node_modules/.ready ## Format, lint, strict types, import contracts, dead code, dependencies, contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/vulture
	@$(BIN)/deptry .
	@$(BIN)/tiergate openapi --check

bench: .venv/ready bench/peers/node_modules/.ready ## Measure one hop beside nginx, Fastify and FastAPI, and what an order costs; writes bench/out/
	@$(BIN)/python -m bench.hop
	@$(BIN)/python -m bench.orders

fuzz: .venv/ready openapi/rules/node_modules/.ready ## Fuzz every contract against a running gateway, each for SECONDS_EACH (60 if not said)
	@$(BIN)/tiergate sandbox --prepare --instances 2
	@$(BIN)/python -m tests.contracts.fuzzing $(or $(SECONDS_EACH),60)

openapi: .venv/ready ## Write the contract of every API to openapi/, and the diagrams of the documentation
	@$(BIN)/tiergate openapi

format: .venv/ready ## Format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .venv/ready ## Resolve the dependencies anew and write the lock files
	@$(COMPILE) pyproject.toml -o requirements/core.txt
	@$(COMPILE) --group sandbox -c requirements/core.txt -o requirements/sandbox.txt
	@$(COMPILE) --group dev -c requirements/core.txt -c requirements/sandbox.txt -o requirements/dev.txt
	@echo uv | $(COMPILE) - -c requirements/dev.txt -o requirements/uv.txt

clean: ## Remove the environment, the state and everything generated
	@rm -rf .venv .tiergate bench/out tests/end_to_end/peers/node_modules openapi/rules/node_modules bench/peers/node_modules .pytest_cache .ruff_cache
