# Each target does its own set-up: `make study` and `make test` work on a bare machine with Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# each begins at its end of the list, so that what a module sets up is set up once, and takes from the other at last
WORKERS = -n 2 --dist worksteal
# pip passes on setuptools' general advice on editable installations as if it were a warning
PIP = PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet --disable-pip-version-check
BACKEND_TESTS = $(foreach room,ops losses metrics,tests/$(room) keras_ls/$(room)) tests/equivalence tests/test_evaluation.py tests/test_repr.py \
	tests/test_without_tensorflow.py tests/distillation/test_distiller_modes.py \
	tests/callbacks/test_exact_resume.py::test_killed_trainings_end_as_undisturbed_ones

.PHONY: help study test test-backends lint bench docs saved_models clean

help:
	@echo "make study         the studies on real digits, two to three minutes; results in runs/tiny"
	@echo "make test          the whole test suite"
	@echo "make test-backends the tests of ops, losses and metrics on JAX and PyTorch"
	@echo "make lint          style of code and docstrings"
	@echo "make bench         speed against the peers, as ratios of one run"
	@echo "make docs          the documentation, in site/"
	@echo "make saved_models  the exported models in saved_models/"
	@echo "PYTHON=python3.12 make study   uses that interpreter"

study: $(VENV)/.study
	$(BIN)/keras-ls run accuracy projection calibration distillation --size tiny

test: $(VENV)/.test
	$(BIN)/python -m pytest $(WORKERS)

test-backends: $(VENV)/.test-backends
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(WORKERS) $(BACKEND_TESTS)
	KERAS_BACKEND=torch $(BIN)/python -m pytest $(WORKERS) $(BACKEND_TESTS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html in a browser."

saved_models: study
	$(BIN)/keras-ls export runs/tiny --to saved_models

clean:
	rm -rf $(VENV) build site *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 10) and f'Expected Python 3.10 or later. Received: {v}. Set PYTHON=python3.12, for one.')"
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { echo "Expected Python with venv. Received: none. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.study: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing TensorFlow, Keras and the rest into $(VENV): a few minutes, once."
	$(PIP) -e .
	@touch $@

$(VENV)/.test-backends: EXTRAS = test,jax,torch
$(VENV)/.test $(VENV)/.test-backends $(VENV)/.bench $(VENV)/.docs: $(VENV)/.%: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing keras_ls with what \"make $*\" needs into $(VENV): a few minutes, once."
	$(PIP) -e ".[$(or $(EXTRAS),$*)]"
	@touch $@
