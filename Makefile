.DEFAULT_GOAL := help
.PHONY: chromium prometheus help setup demo run test test-fast test-extended test-long cov check lint types format docs screenshots openapi lock bench fuzz clean

BIN := .venv/bin
NODE := openapi/rules/node_modules/.ready
PYTHON ?= python3
OLDEST := (3, 11)
RUN_LOCKS := requirements/build.txt requirements/core.txt requirements/sandbox.txt
INSTALL = VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --no-emit-index-url \
           --no-emit-find-links --universal --python-version 3.11
FREE_PORT = $(shell $(BIN)/python -c "from tiergate.dev.ports import free_port; print(free_port())")
PACKAGES := canonical policies system_apis process_apis experience_apis tiergate sandbox
ONCE ?=
T ?=
FAST := tests/unit tests/integration --dist worksteal
# A server starts in a third of the time when its modules are compiled already: what is installed is compiled once,
# and so is what is here; what changes later when it is next used, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-9s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## Create .venv with everything from the lock files (the other commands do it for you)

.venv/run: $(RUN_LOCKS) pyproject.toml
	@test ! -e .venv || $(BIN)/python -c "import pip, sys; sys.exit(sys.version_info < $(OLDEST))" 2>/dev/null || { echo ".venv is not whole, or of a Python that is too old: it is made again"; rm -rf .venv; }
	@test -e .venv || $(PYTHON) -c "import sys; sys.version_info >= $(OLDEST) or sys.exit('Tiergate needs Python 3.11 or later, and $(PYTHON) is ' + sys.version.split()[0] + ': try make PYTHON=python3.11')"
	@test -e .venv || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	@echo "Installing what Tiergate needs into .venv …"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/build.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes --compile-bytecode $(RUN_LOCKS:%=-r %)
	@$(INSTALL)
	@$(BIN)/python -m compileall -q -j 0 $(PACKAGES)
	@touch $@

.venv/ready: .venv/run requirements/dev.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode $(RUN_LOCKS) requirements/dev.txt
	@$(INSTALL)
	@$(BIN)/python -m compileall -q -j 0 tests/support
	@touch $@

demo: .venv/run ## Start everything, close a deal in the CRM and follow it to cash (ONCE=1 exits after it)
	@$(BIN)/tiergate demo $(if $(ONCE),--once)

run: .venv/run ## Run the three layers with your settings (.tiergate/tiergate.toml, or TIERGATE_CONFIG)
	@$(BIN)/tiergate up

test: .venv/ready tests/end_to_end/peers/node_modules/.ready $(NODE) chromium prometheus ## Run the tests, with real servers on loopback (T=word: those that match)
	@$(BIN)/tiergate sandbox --prepare --instances 2
	@$(BIN)/pytest $(if $(T),-k "$(T)")

test-fast: .venv/ready $(NODE) prometheus ## Run the unit and integration tests, which need no ERP (T=word: those that match)
	@$(BIN)/pytest $(FAST) $(if $(T),-k "$(T)")

test-extended: .venv/ready tests/end_to_end/peers/node_modules/.ready $(NODE) chromium prometheus ## Run the siblings of these tests, and all that PostgreSQL has to do as well; the CI runs them too (T=word: those that match)
	@$(BIN)/tiergate sandbox --prepare --instances 2
	@$(BIN)/pytest -m extended $(if $(T),-k "$(T)")

test-long: .venv/ready tests/end_to_end/peers/node_modules/.ready $(NODE) chromium prometheus ## Run the tests that take minutes each (T=word: those that match)
	@$(BIN)/tiergate sandbox --prepare --instances 2
	@$(BIN)/pytest -m long $(if $(T),-k "$(T)")

chromium: # the browser in which the console is tested
	@command -v chromium google-chrome >/dev/null || { echo "Installing Chromium …"; apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium >/dev/null; } || { echo "the console is tested in a Chromium: install one (on Debian: apt-get install chromium)" >&2; exit 1; }

prometheus: # the alerts and dashboards are tested in one; that of Debian starts a service, which nobody here asked for
	@command -v prometheus promtool >/dev/null || { echo "Installing Prometheus …"; apt-get update -qq && apt-get install -qq --yes --no-install-recommends prometheus >/dev/null && { systemctl disable --quiet --now prometheus 2>/dev/null || true; }; } || { echo "the alerts and dashboards are tested in a Prometheus: install one (on Debian: apt-get install prometheus)" >&2; exit 1; }

cov: .venv/ready $(NODE) prometheus ## Run them and print the coverage by branch, with the lines that they do not reach
	@$(BIN)/pytest $(FAST) --cov --cov-report term-missing

%/node_modules/.ready: %/package-lock.json .venv/ready
	@cd $* && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/.ready

check: .venv/ready $(NODE) prometheus ## Check format, lint, strict types, import contracts, dead code, dependencies, contracts, deployment files: all, whatever fails
	@failed=0; run() { "$$@" || failed=1; }; \
	run $(BIN)/ruff format --check .; \
	run $(BIN)/ruff check .; \
	run $(BIN)/basedpyright; \
	run $(BIN)/lint-imports --no-cache; \
	run $(BIN)/vulture; \
	run $(BIN)/python -m tests.support.words; \
	run $(BIN)/deptry .; \
	run $(BIN)/tiergate openapi --check; \
	run $(BIN)/pytest -n0 -p no:cacheprovider tests/unit/deploy; \
	exit $$failed

lint: .venv/ready ## Say what the formatter and the linter would change
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: .venv/ready ## Check the types, strictly
	@$(BIN)/basedpyright

bench: .venv/ready bench/peers/node_modules/.ready ## Measure one hop beside nginx, Fastify and FastAPI, what an order costs, how fast invoices are posted, how it grows, how usage is taken and summed up, and 5,000 contracts with a new price (COUNT=, SECONDS=); writes bench/out/
	@$(BIN)/python -m bench.hop
	@$(BIN)/python -m bench.orders
	@$(BIN)/python -m bench.postings
	@$(BIN)/python -m bench.scale
	@$(BIN)/python -m bench.usage
	@$(BIN)/python -m bench.contracts $(if $(COUNT),--count $(COUNT)) $(if $(SECONDS),--seconds $(SECONDS))

docs: .venv/docs docs/tooling/node_modules/.ready ## Build the documentation as a site in site/; every warning is an error (SERVE=1 serves it on loopback)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(if $(SERVE),serve --dev-addr 127.0.0.1:$(or $(PORT),$(FREE_PORT)),build --quiet --clean)

screenshots: .venv/ready tests/end_to_end/peers/node_modules/.ready chromium ## Take the pictures of the console in the documentation
	@$(BIN)/tiergate sandbox --prepare
	@$(BIN)/python -m tests.support.screenshots docs/screenshots

.venv/docs: .venv/ready requirements/docs.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/docs.txt
	@touch $@

fuzz: .venv/ready $(NODE) ## Fuzz every contract against a running gateway, each for SECONDS_EACH (60 if not said)
	@$(BIN)/tiergate sandbox --prepare --instances 2
	@$(BIN)/python -m tests.support.fuzzing $(or $(SECONDS_EACH),60)

openapi: .venv/ready ## Write the contract of every API to openapi/, and the diagrams of the documentation
	@$(BIN)/tiergate openapi

format: .venv/ready ## Format the code and fix what the linter can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .venv/ready ## Resolve the dependencies and write the lock files
	@$(COMPILE) pyproject.toml -o requirements/core.txt
	@$(COMPILE) pyproject.toml --extra sandbox -c requirements/core.txt -o requirements/sandbox.txt
	@$(COMPILE) --group dev -c requirements/core.txt -c requirements/sandbox.txt -o requirements/dev.txt
	@$(COMPILE) --group docs -c requirements/core.txt -c requirements/sandbox.txt -c requirements/dev.txt -o requirements/docs.txt
	@printf 'uv\nhatchling\n' | $(COMPILE) - -c requirements/dev.txt -o requirements/build.txt

clean: ## Remove the environment, the state and everything generated
	@rm -rf .venv .tiergate bench/out site .coverage tests/end_to_end/peers/node_modules openapi/rules/node_modules bench/peers/node_modules docs/tooling/node_modules .pytest_cache .ruff_cache
