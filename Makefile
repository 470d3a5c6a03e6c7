# Needs git, make and Python 3.11 or newer; everything else goes into .venv, with uv where it is there.

VENV := .venv
PYTHON := $(VENV)/bin/python
# What a target needs beyond the package and its runtime dependencies: groups of pyproject.toml.
groups.demo :=
groups.test := --group test --group peers --group examples --group apps
groups.bench := $(groups.test) --group bench
groups.lint := --group lint
groups.types := --group types --group test
groups.docs := --group docs
groups.build := --group build
# A test process for each core; langchain-tests' timed tests run once.
PYTEST_OPTIONS := --numprocesses auto --benchmark-disable

.DEFAULT_GOAL := help
.PHONY: help demo test live integration lint format types docs links build bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.ready-demo ## ask for a fun fact: of Promptrun with PROMPTRUN_API_KEY set, else of the stand-in server
	@offline=--offline; test -z "$$PROMPTRUN_API_KEY" || offline=; \
	$(PYTHON) -m langchain_promptrun $$offline "Tell me a fun fact about space."

test: $(VENV)/.ready-test ## unit and integration tests, warnings as errors, 100 % branch coverage; never asks Promptrun
	$(PYTHON) -m pytest $(PYTEST_OPTIONS) tests/unit --cov --cov-report= --cov-fail-under=0
	$(PYTHON) -m pytest $(PYTEST_OPTIONS) tests/integration --cov --cov-append

integration: $(VENV)/.ready-test ## the tests over real sockets alone
	$(PYTHON) -m pytest $(PYTEST_OPTIONS) tests/integration

live: $(VENV)/.ready-test ## the tests that ask Promptrun itself: needs PROMPTRUN_API_KEY and costs a few cents
	@test -n "$$PROMPTRUN_API_KEY" || { echo "error: PROMPTRUN_API_KEY is not set" >&2; exit 1; }
	$(PYTHON) -m pytest -m live tests/integration

lint: $(VENV)/.ready-lint ## ruff, the layers of the package, spelling, pyproject.toml and the workflows
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell
	$(VENV)/bin/validate-pyproject pyproject.toml
	$(VENV)/bin/zizmor --offline --quiet .github

format: $(VENV)/.ready-lint ## rewrite the files as ruff wants them
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

types: $(VENV)/.ready-types ## mypy, strict, on the package; mypy and pyright on the code of a user
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy tests/typing
	$(PYTHON) -m pyright --pythonpath $(PYTHON)

docs: $(VENV)/.ready-docs ## the documentation site in build/site; a broken link or anchor is an error
	$(VENV)/bin/zensical build --clean --strict

links: $(VENV)/.ready-demo ## ask for every outside link of README and docs; needs a network
	$(PYTHON) scripts/check_links.py

build: $(VENV)/.ready-build ## wheel and sdist in dist/; the wheel is tried in an environment with nothing else
	rm -rf dist build/wheel
	@if uv --version >/dev/null 2>&1 && uv build --python $(PYTHON); then :; else $(PYTHON) -m build; fi
	@$(call new_venv,build/wheel)
	@$(call install,build/wheel/bin/python,dist/*.whl)
	build/wheel/bin/python -I -m langchain_promptrun --version
	build/wheel/bin/python -I -m langchain_promptrun --offline "Does the wheel work?"

ifneq ($(wildcard benchmarks/run.py),)
bench: $(VENV)/.ready-bench ## cost per chunk and per call beside the peers, as a table, as JSON and as a picture
	$(PYTHON) benchmarks/run.py
	$(PYTHON) benchmarks/plot.py
endif

clean: ## remove what was built and cached, except .venv
	rm -rf build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(PYTHON):
	@echo "Creating $(VENV)" >&2
	@$(call new_venv,$(VENV))

# One stamp for each set of dependencies: installed once, and again when pyproject.toml changes.
$(VENV)/.ready-%: pyproject.toml | $(PYTHON)
	@echo "Installing what 'make $*' needs into $(VENV)" >&2
	@$(call install,$(PYTHON),--editable . $(groups.$*))
	@touch $@

# Candidates are tried by running them: a version manager's shim may be there and fail.
find_python = for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then echo "$$candidate"; break; fi; done

# $(1): the folder. What uv cannot do here (an old version, an index that only pip is told of) is left to pip.
define new_venv
rm -rf $(1); \
	if uv --version >/dev/null 2>&1 && uv venv --quiet --python '>=3.11' $(1); then exit 0; fi; \
	python="$$($(find_python))"; \
	if [ -z "$$python" ]; then \
	  echo "error: Python 3.11 or newer, with its venv module, was not found on PATH" >&2; exit 1; fi; \
	"$$python" -m venv $(1)
endef

# $(1): the interpreter of an environment, $(2): what to install. Groups need pip 25.1.
define install
if uv --version >/dev/null 2>&1 && uv pip install --quiet --python $(1) $(2); then exit 0; fi; \
	$(1) -m pip --version >/dev/null 2>&1 || $(1) -m ensurepip >/dev/null || exit 1; \
	$(1) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' || exit 1; \
	$(1) -m pip install --quiet --disable-pip-version-check $(2)
endef
