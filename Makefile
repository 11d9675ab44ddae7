# Everything here makes its own environment, from nothing but a Python.
#
#   make demo          train, lose the machine, resume from a bucket (no account needed)
#   make lint          style and formatting, in seconds
#   make test          all tests but the slow ones
#   make test-all      the slow ones too, with DeepSpeed and Ray beside
#   make test-oldest   all tests but the slow ones, with the oldest releases that are supported
#   make upstream      a copy of transformers with buckets inside, and its diff, in build/upstream
#   make upstream-test  what it promises, with the oldest, a middle and the newest transformers
#   make bench         take the figures of docs/benchmarks.md
#   make clean         remove what the others made
#
#   make test PYTHON=python3.12    the same on another Python: each has an environment of its own

PYTHON ?= python3
# One version that is known to work. It comes first, so that pip does not pick another for the ranges in pyproject.toml.
# Any other arguments of pip can stand here, such as those for a build without CUDA.
TORCH ?= torch==2.13.0

# The oldest releases that the ranges in pyproject.toml admit, as far as they were tried. torch stays as it is.
OLDEST := transformers==5.10.1 huggingface_hub==1.25.0 hf_xet==1.8.0

# .venv, and .venv-python3.12 for a Python that was asked for: an environment stays with the Python that made it.
VENV := .venv$(addprefix -,$(notdir $(filter-out python3,$(PYTHON))))
BIN := $(VENV)/bin
# DeepSpeed and Ray take minutes and much room, so they have an environment of their own, which sees all packages of the other.
ENGINES := $(VENV)-engines
# One more than two cores have, as some tests wait; all tests of a file in the same process: what they have in common is made once.
PYTEST := -m pytest -n 3 --dist loadfile
PIP := $(BIN)/python -m pip install --quiet
# One version: the next one may like another style.
RUFF := ruff==0.17.6

# Between the oldest and the newest transformers that are supported; tried with the libraries of the newest.
MIDDLE := 5.20.0

.PHONY: help demo test test-all test-oldest bench upstream upstream-test lint clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/for-demo
	$(BIN)/python examples/demo.py

test: $(VENV)/for-test
	$(BIN)/python $(PYTEST)

test-all: $(ENGINES)/made
	$(ENGINES)/bin/python $(PYTEST) -m "slow or not slow"

# Left out: the tests of the local Hub use what only huggingface_hub 2 has; transformers 5.10 itself cannot resume on two
# CPU processes with this torch (its `map_location` is "cpu:0").
test-oldest: .venv-oldest/made
	.venv-oldest/bin/python $(PYTEST) --ignore=tests/hub/local_hub --ignore=tests/distributed

bench: $(VENV)/for-bench
	$(BIN)/python -m tests.benchmarks

upstream: $(VENV)/for-demo
	$(BIN)/python -m upstream

upstream-test: $(VENV)/for-test .venv-oldest/made
	.venv-oldest/bin/python -m tests.upstream
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target build/upstream/release-$(MIDDLE) transformers==$(MIDDLE)
	$(BIN)/python -m tests.upstream --release build/upstream/release-$(MIDDLE)
	$(BIN)/python -m tests.upstream --with-shared

lint: .venv-lint/made
	.venv-lint/bin/ruff check
	.venv-lint/bin/ruff format --check

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/for-demo: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "Making the environment in $(VENV): this takes some minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(TORCH)
	$(PIP) --editable '.[hub]'
	@touch $@

$(VENV)/for-test: $(VENV)/for-demo
	$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/for-bench: $(VENV)/for-demo
	$(PIP) --editable '.[bench]'
	@touch $@

# Without an accelerator DeepSpeed compiles nothing when it is installed, and its setup has to see torch.
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
$(ENGINES)/made: $(VENV)/for-test
	$(PYTHON) -m venv $(ENGINES)
	echo "import site; site.addsitedir('$$(cd $(VENV) && bin/python $(PURELIB))')" > $$($(ENGINES)/bin/python $(PURELIB))/packages.pth
	DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(ENGINES)/bin/python -m pip install --quiet --no-build-isolation deepspeed 'ray[train]'
	@touch $@

.venv-oldest/made: pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install $(TORCH)
	.venv-oldest/bin/python -m pip install --quiet --editable '.[test]' $(OLDEST)
	@touch $@

# ruff alone: nothing of the package is imported.
.venv-lint/made: Makefile
	$(PYTHON) -m venv .venv-lint
	.venv-lint/bin/python -m pip install --quiet $(RUFF)
	@touch $@
