# Every target installs what it needs into an environment of its own, once, and again when the requirements change.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
PHOTOS ?=
OUT ?= out
STAGE ?= dev
# These texts can hold what make or the shell would replace, so recipes read them from the environment.
export DEMO_PHOTOS := $(value PHOTOS)
export DEMO_OUT := $(value OUT)
export SAM_STAGE := $(value STAGE)
unexport PHOTOS OUT STAGE
PORT ?= 4566
VERBOSE ?=
VENV := .venv
SAM := .venv-sam
CHECKOV := .venv-checkov
PARLIAMENT := .venv-parliament
ELSEWHERE := .venv-elsewhere
BIN := $(VENV)/bin
export UV_PYTHON_DOWNLOADS := never
# Without bytecode, each of the many processes that the tests start compiles everything again.
unexport PYTHONDONTWRITEBYTECODE
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(call install,ENVIRONMENT,OPTIONS) uses uv if it is on the PATH, otherwise pip. Neither compiles what is never imported.
ifneq ($(shell command -v uv),)
install = uv pip install --quiet --python $(1)/bin/python --no-deps $(2)
else
install = $(call pip,$(1)) && $(1)/bin/python -m pip install --quiet --no-compile --no-deps $(2)
pip = { $(1)/bin/python -m ensurepip >/dev/null 2>&1 || \
  { echo "This Python has no pip. Install uv, or your system's package python3-venv." >&2; exit 1; }; }
endif

# What an environment is made of. It is made again if that has changed: its folder was moved or copied, its Python is
# another or gone, or a lock file is another. So nothing that a lock file no longer has is left in it.
locks = $(if $(filter $(VENV),$(1)),$(addprefix requirements/,sandbox.txt tests.txt benchmarks.txt),requirements/$(1:.venv-%=%).txt)
made_of = { $(1)/bin/python -c 'import sys; print(sys.prefix, sys.base_prefix, *sys.version_info[:2])' && cksum $(call locks,$(1)); }
# A Python that is named (make PYTHON=python3.13) has to be the environment's. Otherwise, any that works will do.
base = $(1) -c 'import sys; print(sys.base_prefix, *sys.version_info[:2])'
is_wanted = $(if $(filter file,$(origin PYTHON)),true,[ "$$($(call base,$(1)/bin/python))" = "$$($(call base,$(PYTHON)))" ])

.PHONY: FORCE
.PRECIOUS: %/.python .venv-%/.ready
%/.python: FORCE
	@if [ -e $@ ] && $(call made_of,$*) 2>/dev/null | cmp -s - $@ && $(call is_wanted,$*); then exit 0; fi; \
	command -v $(PYTHON) >/dev/null || \
	  { echo "There is no $(PYTHON). Lumendrop needs Python 3.11 or later. Try make PYTHON=/path/to/python3." >&2; exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lumendrop needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Try make PYTHON=python3.13.")'; \
	if [ -e $* ] || [ -L $* ]; then echo "Making $* again: its folder, its Python, or its requirements changed ..."; rm -rf $*; fi; \
	$(PYTHON) -m venv --without-pip $*; \
	$(call made_of,$*) >$@

# The command `lumendrop` is an editable install, so it runs the code of this checkout.
$(VENV)/.sandbox: pyproject.toml $(VENV)/.python
	@echo "Installing the sandbox's packages (once) ..."
	@$(call install,$(VENV),--require-hashes -r requirements/sandbox.txt)
	@$(call install,$(VENV),--no-index --no-build-isolation -e .)
	@touch $@

$(VENV)/.tests: $(VENV)/.sandbox
	@echo "Installing the tests' packages (once) ..."
	@$(call install,$(VENV),--require-hashes -r requirements/tests.txt)
	@touch $@

$(VENV)/.benchmarks: $(VENV)/.tests
	@echo "Installing the benchmarks' packages (once) ..."
	@$(call install,$(VENV),--require-hashes -r requirements/benchmarks.txt)
	@touch $@

$(VENV)/.browser: requirements/browser.txt $(VENV)/.tests
	@echo "Installing the browser tests' packages (once) ..."
	@$(call install,$(VENV),--require-hashes -r requirements/browser.txt)
	@touch $@

# The versions that these tools pin conflict with the sandbox's.
.venv-%/.ready: .venv-%/.python
	@echo "Installing $* into its own environment (once) ..."
	@$(call install,$(@D),--require-hashes -r requirements/$*.txt)
	@touch $@

.PHONY: help
help: ## List every target.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

.PHONY: demo
demo: $(VENV)/.sandbox ## Run the whole pipeline on photos: make demo [PHOTOS=dir] [OUT=dir]. Then open out/index.html.
	@$(BIN)/python -m sandbox demo $${DEMO_PHOTOS:+--photos="$$DEMO_PHOTOS"} --out="$$DEMO_OUT"

.PHONY: sandbox
sandbox: $(VENV)/.sandbox ## Run the stack until Ctrl-C, for the AWS CLI and lumendrop: make sandbox [PORT=4566] [VERBOSE=1].
	@$(BIN)/python -m sandbox up --port $(PORT) $(if $(VERBOSE),--verbose)

.PHONY: test
test: $(VENV)/.tests ## Run all tests: about six minutes on two cores. `.venv/bin/pytest PATH` runs some of them.
	@PYTHONUTF8=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.PHONY: test-board
test-board: $(VENV)/.browser ## Test the board in a real browser: make test-board [SHOTS=dir]. Skips if Chromium is not installed.
ifneq ($(CHROMIUM),)
	@CHROMIUM="$(CHROMIUM)" SHOTS="$(SHOTS)" $(BIN)/python -m pytest -q --import-mode=importlib tests/browser
else
	@echo "Skipped: none of chromium, chromium-browser, and google-chrome is on the path. Install Chromium and run it again."
endif

.PHONY: test-elsewhere
test-elsewhere: $(VENV)/.tests $(ELSEWHERE)/.ready ## Run the end-to-end tests on ministack, another AWS emulator: about seven minutes.
	@PYTHONUTF8=1 $(BIN)/python -m pytest -q tests/elsewhere

JSONATA := .venv-jsonata
CDK := .venv-cdk
NODE = $(and $(shell command -v node),$(shell command -v npm))

$(JSONATA)/.ready $(CDK)/.ready: .venv-%/.ready: requirements/%/package-lock.json
	@echo "Installing the Node packages of $* (once) ..."
	@rm -rf $(@D); mkdir $(@D); cp requirements/$*/*.json $(@D)
	@cd $(@D) && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: check-asl
check-asl: $(VENV)/.tests ## Compare the sandbox's JSONata results with the official engine's, for both workflows. Skips if Node is not installed.
ifneq ($(NODE),)
check-asl: $(JSONATA)/.ready
	@PYTHONPATH=layers:cli $(BIN)/python -m tests.jsonata $(JSONATA)/node_modules
else
	@echo "Skipped: node and npm are not both on the path. Install Node.js and run it again."
endif

.PHONY: check-cdk
check-cdk: $(VENV)/.tests ## Synthesize the app of docs/other-tools.md with the AWS CDK. Skips if Node is not installed.
ifneq ($(NODE),)
check-cdk: $(CDK)/.ready
	@$(BIN)/python -m pytest -q tests/cdk
else
	@echo "Skipped: node and npm are not both on the path. Install Node.js and run it again."
endif

.PHONY: cli
cli: $(VENV)/.sandbox ## Install `lumendrop`, the command that operates a stack, and print its path.
	@echo "$(CURDIR)/$(BIN)/lumendrop"

SEED ?= 1
SEEDS ?= 1
JOBS ?= 1
UPLOADS ?= 500
KEYS ?= 400

.PHONY: chaos
chaos: $(VENV)/.tests ## Check the promises under random faults, about 15 minutes per seed: make chaos [SEED=1] [SEEDS=20] [JOBS=4] [UPLOADS=500] [KEYS=400].
	@$(BIN)/python -m tests.chaos --seed $(SEED) --seeds $(SEEDS) --jobs $(JOBS) --uploads $(UPLOADS) --keys $(KEYS)

.PHONY: model
model: $(VENV)/.tests ## Check the promises in every order in which deliveries, crashes, and answers can happen to an upload: four minutes.
	@PYTHONPATH=layers $(BIN)/python -m tests.model.explorer

.PHONY: enhance-kills
enhance-kills: $(VENV)/.tests ## Kill `lumendrop enhance` fifty times at random moments: every photo is paid for once and downloaded whole.
	@KILLS=50 $(BIN)/python -m pytest -q --timeout 3600 tests/folders/test_enhance.py -k killed

.PHONY: chaos-mutations
chaos-mutations: $(VENV)/.tests ## Check that the chaos suite catches one-line changes that break a promise.
	@$(BIN)/python -m tests.chaos.mutations

BENCHMARKS := backfill cold-start delivery enhancer polling cost burst outage folder

.PHONY: bench
bench: $(BENCHMARKS:%=bench-%) ## Run all benchmarks: each prints a table and writes docs/benchmarks/.

.PHONY: $(BENCHMARKS:%=bench-%)
$(BENCHMARKS:%=bench-%): bench-%: $(VENV)/.benchmarks
	@PYTHONPATH=layers $(BIN)/python -m benchmarks.$(subst -,_,$*)

.PHONY: bench-board
bench-board: $(VENV)/.browser ## Measure the board in Chromium: first paint, delay, long tasks, 10,000 rows, reads on AWS.
	@CHROMIUM="$(CHROMIUM)" $(BIN)/python -m benchmarks.board

FULL ?=

.PHONY: bench-first-run
bench-first-run: $(VENV)/.benchmarks ## Measure set-up, demo, and sandbox in fresh clones; with FULL=1 also make check and make test.
	@$(BIN)/python -m benchmarks.first_run $(if $(FULL),--full)

.PHONY: bench-pages
bench-pages: $(VENV)/.benchmarks ## Copy the figures that the benchmarks measured into README.md and docs/.
	@PYTHONPATH=layers $(BIN)/python -m benchmarks.pages

.PHONY: pictures
pictures: $(VENV)/.browser ## Take the README's pictures from a running board; needs Chromium on the path.
	@CHROMIUM="$(CHROMIUM)" PYTHONPATH=. $(BIN)/python docs/pictures.py

.PHONY: check
check: $(VENV)/.tests $(CHECKOV)/.ready $(PARLIAMENT)/.ready ## Lint, types, template checks.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/windows cli/lumendrop_cli
	@for app in functions/*/app.py; do $(BIN)/mypy "$$app"; done
	@$(BIN)/cfn-lint template.yaml monitoring.yaml
	@$(CHECKOV)/bin/checkov
	@PYTHONPATH=layers:cli $(BIN)/python -m tests.template.policies | $(PARLIAMENT)/bin/python -W ignore tests/audit_policies.py
	@PYTHONUTF8=1 $(BIN)/python -m pytest -q tests/template

.PHONY: build
build: $(SAM)/.ready ## Validate the template and build what `sam deploy` uploads; needs no Docker.
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam validate --lint --region us-east-1
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam build
	@$(SAM)/bin/python tests/package.py .aws-sam/build

.PHONY: build-twice
build-twice: build ## Check that a second build from scratch gives the same result.
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam build --no-cached --build-dir .aws-sam/again
	@$(SAM)/bin/python tests/package.py .aws-sam/build .aws-sam/again

DIST ?= dist

.PHONY: release
release: build $(VENV)/.sandbox ## Build the release into dist/: the wheel with the built template, SHA256SUMS, and the bill of materials.
	@PYTHONPATH=. $(BIN)/python -m release.build .aws-sam/build $(DIST)

.PHONY: release-twice
release-twice: release ## Check that a second build from scratch gives the same release.
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam build --no-cached --build-dir .aws-sam/again
	@PYTHONPATH=. $(BIN)/python -m release.build .aws-sam/again .aws-sam/release
	@cmp $(DIST)/SHA256SUMS .aws-sam/release/SHA256SUMS && echo "Both builds are equal."

.PHONY: test-release
test-release: release $(VENV)/.tests $(ELSEWHERE)/.ready ## Test the wheel: in an empty environment and folder, it deploys to the sandbox and to ministack.
	@$(BIN)/python -m pytest -q -s --import-mode=importlib tests/release

DELETE_PHOTOS ?= no
# Prints the stack's name of the stage, or which stages there are.
define STAGES
import os, sys, tomllib
config, stage = tomllib.load(open("samconfig.toml", "rb")), os.environ["SAM_STAGE"]
stacks = {name: one["global"]["parameters"]["stack_name"] for name, one in config.items() if name not in ("version", "default")}
sys.exit(f"samconfig.toml has no stage {stage!r}, only {', '.join(stacks)}.") if stage not in stacks else print(stacks[stage])
endef
export STAGES
stack_name = $(1)/bin/python -c "$$STAGES"

.PHONY: stage
stage: $(SAM)/.ready
	@$(call stack_name,$(SAM)) >/dev/null

.PHONY: deploy
deploy: stage build ## Deploy to your account: make deploy [STAGE=prod]. Stages are in samconfig.toml.
	@PATH="$(CURDIR)/$(SAM)/bin:$$PATH" sam deploy --config-env "$$SAM_STAGE"

.PHONY: destroy
destroy: $(VENV)/.sandbox ## Delete a stack, and with DELETE_PHOTOS its photos: make destroy [STAGE=prod] [DELETE_PHOTOS=yes].
	@stack="$$($(call stack_name,$(VENV)))"; \
	$(BIN)/lumendrop --stack "$$stack" destroy $(if $(filter yes,$(DELETE_PHOTOS)),--delete-photos)

.PHONY: format
format: $(VENV)/.tests ## Format the code.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

LOCK := $(SAM)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock"

.PHONY: lock
lock: $(SAM)/.ready ## Lock the newest versions of all requirements.
	$(LOCK) --upgrade requirements/sandbox.in -o requirements/sandbox.txt
	$(LOCK) -c requirements/sandbox.txt pyproject.toml -o requirements/command.txt
	$(LOCK) -c requirements/sandbox.txt layers/requirements.in -o layers/requirements.txt
	$(LOCK) -c requirements/sandbox.txt requirements/tests.in -o requirements/tests.txt
	$(LOCK) -c requirements/tests.txt requirements/benchmarks.in -o requirements/benchmarks.txt
	$(LOCK) -c requirements/tests.txt requirements/browser.in -o requirements/browser.txt
	$(LOCK) --upgrade requirements/sam.in -o requirements/sam.txt
	$(LOCK) --upgrade requirements/checkov.in -o requirements/checkov.txt
	$(LOCK) --upgrade requirements/parliament.in -o requirements/parliament.txt
	$(LOCK) --upgrade requirements/elsewhere.in -o requirements/elsewhere.txt

.PHONY: clean
clean: ## Remove environments, builds, caches, and results, also those of earlier versions.
	@rm -rf .venv .venv-* .aws-sam dist out .pytest_cache .mypy_cache .ruff_cache
	@find . -name .git -prune -o -type d \( -name __pycache__ -o -name .hypothesis \) -prune -exec rm -rf {} +
