# Everything a newcomer or CI needs; each target installs what it needs into an environment of its own.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
PHOTOS ?=
OUT ?= out
PORT ?= 4566
VENV := .venv
SAM := .venv-sam
CHECKOV := .venv-checkov
CLI := .venv-cli
PICTURES := .venv-pictures
BIN := $(VENV)/bin
export UV_PYTHON_DOWNLOADS := never
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# An environment is made once, and again when its requirements change.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lumendrop needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try make PYTHON=python3.13 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.sandbox: requirements/sandbox.txt | $(VENV)/bin/python
	@echo "Installing what the sandbox needs (about a minute, once) …"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/sandbox.txt
	@touch $@

$(VENV)/.tests: requirements/tests.txt $(VENV)/.sandbox
	@echo "Installing what the tests need (about half a minute, once) …"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/tests.txt
	@touch $@

$(VENV)/.benchmarks: requirements/benchmarks.txt $(VENV)/.tests
	@echo "Installing what the benchmarks need (about half a minute, once) …"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/benchmarks.txt
	@touch $@

$(SAM)/.ready: requirements/sam.txt
	@echo "Installing the SAM CLI into an environment of its own (about a minute, once) …"
	@$(PYTHON) -m venv $(SAM)
	@$(SAM)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/sam.txt
	@touch $@

$(CHECKOV)/.ready: requirements/checkov.txt
	@echo "Installing checkov into an environment of its own (about a minute, once) …"
	@$(PYTHON) -m venv $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/checkov.txt
	@touch $@

.PHONY: help
help: ## List every target.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

.PHONY: demo
demo: $(VENV)/.sandbox ## Run the whole pipeline on photos, here: make demo [PHOTOS=dir] [OUT=dir]. Then open out/index.html.
	@$(BIN)/python -m sandbox demo $(if $(PHOTOS),--photos "$(PHOTOS)") --out "$(OUT)"

.PHONY: sandbox
sandbox: $(VENV)/.sandbox ## Run the stack on this machine until Ctrl-C, for the AWS CLI: make sandbox [PORT=4566].
	@$(BIN)/python -m sandbox up --port $(PORT)

.PHONY: test
test: $(VENV)/.tests ## Run all tests, one process for each core (at most four); `pytest PATH` runs some of them.
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

$(CLI)/.ready: requirements/cli.txt requirements/cli-build.txt pyproject.toml $(wildcard cli/lumendrop_cli/*.py)
	@echo "Installing the command line into an environment of its own (about a quarter of a minute) …"
	@$(PYTHON) -m venv $(CLI)
	@$(CLI)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/cli.txt -r requirements/cli-build.txt
	@$(CLI)/bin/python -m pip install --quiet --no-deps --no-index --no-build-isolation --force-reinstall .
	@touch $@

.PHONY: cli
cli: $(CLI)/.ready ## Install `lumendrop`, which looks after a deployed stack, and say where it is.
	@echo "$(CURDIR)/$(CLI)/bin/lumendrop"

SEED ?= 1
SEEDS ?= 1
JOBS ?= 1
UPLOADS ?= 500
KEYS ?= 400

.PHONY: chaos
chaos: $(VENV)/.tests ## Hold the promises while everything goes wrong, a quarter of an hour a seed: make chaos [SEED=1] [SEEDS=20] [JOBS=4] [UPLOADS=500] [KEYS=400].
	@$(BIN)/python -m tests.chaos --seed $(SEED) --seeds $(SEEDS) --jobs $(JOBS) --uploads $(UPLOADS) --keys $(KEYS)

.PHONY: chaos-mutations
chaos-mutations: $(VENV)/.tests ## Break each promise by one line, in a copy, and see the chaos suite fail.
	@$(BIN)/python -m tests.chaos.mutations

BENCHMARKS := backfill cold-start delivery enhancer polling cost burst

.PHONY: bench
bench: $(BENCHMARKS:%=bench-%) ## Run all benchmarks: each prints a table and writes docs/benchmarks/.

.PHONY: $(BENCHMARKS:%=bench-%)
$(BENCHMARKS:%=bench-%): bench-%: $(VENV)/.benchmarks
	@PYTHONPATH=layers $(BIN)/python -m benchmarks.$(subst -,_,$*)

.PHONY: bench-pages
bench-pages: $(VENV)/.benchmarks ## Fill README and docs/benchmarks.md with the benchmarks' figures.
	@PYTHONPATH=layers $(BIN)/python -m benchmarks.pages

$(PICTURES)/.ready: requirements/pictures.txt
	@echo "Installing Playwright into an environment of its own (about half a minute, once) …"
	@$(PYTHON) -m venv $(PICTURES)
	@$(PICTURES)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/pictures.txt
	@touch $@

.PHONY: pictures
pictures: $(VENV)/.sandbox $(PICTURES)/.ready ## Take the README's pictures from a run of the demo; needs Chromium on the path.
	@$(BIN)/python -m sandbox demo --out out
	@$(PICTURES)/bin/python docs/pictures.py out/index.html

.PHONY: check
check: $(VENV)/.tests $(CHECKOV)/.ready ## Lint, types, template checks.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@for app in functions/*/app.py; do $(BIN)/mypy "$$app"; done
	@$(BIN)/cfn-lint template.yaml monitoring.yaml
	@$(CHECKOV)/bin/checkov
	@$(BIN)/python -m pytest -q tests/template

.PHONY: build
build: $(SAM)/.ready ## Validate the template and build what `sam deploy` uploads; needs no Docker.
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam validate --lint --region us-east-1
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam build
	@$(SAM)/bin/python tests/package.py .aws-sam/build

.PHONY: build-twice
build-twice: build ## Build again from nothing, elsewhere, and see that it comes out the same.
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam build --no-cached --build-dir .aws-sam/again
	@$(SAM)/bin/python tests/package.py .aws-sam/build .aws-sam/again

STAGE ?= dev
DELETE_PHOTOS ?= no
STACK = $$($(PYTHON) -c 'import tomllib; print(tomllib.load(open("samconfig.toml", "rb"))["$(STAGE)"]["global"]["parameters"]["stack_name"])')

.PHONY: deploy
deploy: build ## Deploy to the account of your credentials: make deploy [STAGE=prod]. Stages are in samconfig.toml.
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam deploy --config-env $(STAGE)

.PHONY: destroy
destroy: $(CLI)/.ready ## Delete a stack; photos stay unless told: make destroy [STAGE=prod] [DELETE_PHOTOS=yes].
	@$(CLI)/bin/lumendrop --stack "$(STACK)" destroy $(if $(filter yes,$(DELETE_PHOTOS)),--delete-photos)

.PHONY: format
format: $(VENV)/.tests ## Format the code.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

LOCK := $(SAM)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock"

.PHONY: lock
lock: $(SAM)/.ready ## Lock the requirements anew.
	$(LOCK) --upgrade requirements/sandbox.in -o requirements/sandbox.txt
	$(LOCK) -c requirements/sandbox.txt layers/requirements.in -o layers/requirements.txt
	$(LOCK) -c requirements/sandbox.txt requirements/cli.in -o requirements/cli.txt
	$(LOCK) -c requirements/cli.txt -c requirements/sandbox.txt requirements/cli-build.in -o requirements/cli-build.txt
	$(LOCK) -c requirements/sandbox.txt -c requirements/cli.txt requirements/tests.in -o requirements/tests.txt
	$(LOCK) -c requirements/tests.txt requirements/benchmarks.in -o requirements/benchmarks.txt
	$(LOCK) --upgrade requirements/pictures.in -o requirements/pictures.txt
	$(LOCK) --upgrade requirements/sam.in -o requirements/sam.txt
	$(LOCK) --upgrade requirements/checkov.in -o requirements/checkov.txt

.PHONY: clean
clean: ## Remove environments, builds and results.
	rm -rf $(VENV) $(SAM) $(CHECKOV) $(CLI) $(PICTURES) .aws-sam out .pytest_cache .mypy_cache .ruff_cache
