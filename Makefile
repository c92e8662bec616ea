# Every command of the project. Each target installs what it needs into .venv, once per change of pyproject.toml or
# constraints.txt. Needs Python 3.11 or newer with pip and venv, make and git.

VENV ?= .venv
OUT ?= demo-out
DIST ?= dist
SITE ?= site
EXAMPLES ?= 740
LIBRARY ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo demo-torch test test-deep lint types docs docs-release pages look examples fuzz mutants wheel release check clean

help:
	@echo "make demo      run the demonstration on the digits data; its report goes to $(OUT)/"
	@echo "make demo-torch the same on PyTorch; its report goes to $(OUT)-torch/"
	@echo "make test      unit, integration and property tests"
	@echo "make test-deep tests that run whole studies, benchmarks and pages of the documentation"
	@echo "make lint      ruff: rules and formatting; who may import whom"
	@echo "make types     mypy --strict"
	@echo "make docs      build the documentation into $(SITE)/; a warning is an error"
	@echo "make pages     run the code of the documentation's pages and write what it prints under it"
	@echo "make docs-release  the documentation of this version on the branch gh-pages, earlier ones beside it"
	@echo "make examples  run every file of examples/"
	@echo "make fuzz      property tests with many random examples, 100,000 for each library; takes hours"
	@echo "make mutants   break the package in every listed way and show that a test notices each"
	@echo "make look      look at the built documentation in Chromium, at two widths"
	@echo "make wheel     build a wheel into $(DIST)/"
	@echo "make release   wheel and sdist, compared; licences; pyright; clean environments; takes long"
	@echo "make check     lint, types, docs, examples, demo, test"
	@echo "make clean     remove everything that these commands made"

demo: $(VENV)/.installed-report
	$(BIN)/dntk demo --out $(OUT)

demo-torch: $(VENV)/.installed-all
	$(BIN)/dntk demo --backend torch --out $(OUT)-torch

# One thread per test process: more would wait for each other on small matrices. A process starts with one half of the
# tests, in order: what it has compiled or made for one test of a file is there for the next. Bytecode is written also
# where the environment says not to: tests start dozens of Pythons, which read it.
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist worksteal -m "not deep" tests property_tests

test-deep: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m deep tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.installed-dev
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir $(abspath $(SITE))
	$(BIN)/python tests/raw_references.py $(SITE)

# The docs of this version, as a commit on the branch gh-pages beside those of earlier ones; nothing is pushed.
docs-release: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mike deploy --config-file mkdocs.versions.yml --update-aliases \
	  "$$($(BIN)/python -c 'import dntk; print(dntk.__version__)')" latest
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mike set-default --config-file mkdocs.versions.yml latest

# Run the pages and write what they print under their blocks.
pages: $(VENV)/.installed-all
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.pages README.md $$(grep -l '^```python' docs/*.md docs/reference/*.md)

look: docs
	$(BIN)/python -m tests.browser $(SITE) --out $(SITE)-pictures

examples: $(VENV)/.installed-all
	set -e; for example in examples/*.py; do echo "$$example"; $(BIN)/python "$$example"; done

# LIBRARY=jax runs one library alone, EXAMPLES=100 less of every property; how many cases ran is the last that it says.
fuzz: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=fuzz DNTK_FUZZ_EXAMPLES=$(EXAMPLES) \
	  $(BIN)/python -m pytest -n 2 --dist worksteal property_tests -k "$(LIBRARY)"

mutants: $(VENV)/.installed-test
	$(BIN)/python -m property_tests.mutants

wheel: $(VENV)/.installed-report
	rm -rf build
	$(PIP) wheel --no-deps --wheel-dir $(DIST) .

# Last, because it takes longest: every row of the matrix makes an environment of its own.
release: $(VENV)/.installed-release
	$(BIN)/python .ci/build_twice.py $(DIST)
	$(BIN)/python .ci/licences.py $(DIST)/sbom.json
	$(BIN)/python .ci/public_types.py
	$(BIN)/python .ci/matrix.py $(DIST)/dntk-*.whl $(DIST)/matrix.md

check: lint types docs examples demo test test-deep

clean:
	rm -rf $(VENV) $(OUT) $(DIST) $(SITE) $(SITE)-pictures build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .jax_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per set of extra requirements, and those of the sets that it holds: they are not installed again.
HELD-all := report
HELD-test := $(HELD-all) all
HELD-dev := $(HELD-test) test docs
HELD-release := $(HELD-dev) dev
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --editable ".[$*]" --constraint constraints.txt
	@touch $@ $(addprefix $(VENV)/.installed-,$(HELD-$*))

$(BIN)/python:
	@for python in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$python -m venv $(VENV); exit; \
	  fi; \
	done; \
	echo "dntk needs Python 3.11 or newer with venv and ensurepip; pass it as make PYTHON=/path/to/python" >&2; exit 1
