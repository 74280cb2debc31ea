# Everything a person or a machine runs here. `make demo` and `make test` set up what they need.

VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
KERAS_VENV ?= .venv-keras
STAMP := $(VENV)/.installed
KERAS_STAMP := $(KERAS_VENV)/.installed
# More options of a benchmark: make bench-runtime ARGS='--files 60 --rounds 1'
ARGS ?=

.PHONY: demo test check lint types docs smoke bench-training bench-runtime bench-install bench-phantom bench-localisation bench-duplicates bench-suspects bench-gate bench-memory bench-serving clean help

help:  ## Show what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed, found: $$($(PYTHON) --version). Try PYTHON=python3.12 make ..."; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	  { echo "No virtual environment could be made: install your system's python3-venv."; exit 1; }
	$(VENV)/bin/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## The whole story on a small data set, in a few minutes
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bash runs/demo.sh

test: $(STAMP)  ## All tests, with coverage
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --cov --cov-report=term:skip-covered

check: lint types  ## What a commit must pass, besides the tests

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/bandit -q -r src -ll

types: $(STAMP)
	$(VENV)/bin/mypy

docs: $(STAMP)  ## Write the generated pages anew
	$(PY) scripts/generate_cli_reference.py
	$(PY) scripts/sync_requirements.py

smoke:  ## The core alone, without extras: it must start, and name what is missing
	rm -rf build/smoke && $(PYTHON) -m venv build/smoke
	build/smoke/bin/pip install --quiet -c constraints.txt .
	build/smoke/bin/pneumoscope --version
	build/smoke/bin/pneumoscope doctor
	! build/smoke/bin/pneumoscope train nowhere

$(KERAS_STAMP): benchmarks/peers/requirements.txt
	@test -x $(KERAS_VENV)/bin/python || $(PYTHON) -m venv $(KERAS_VENV)
	$(KERAS_VENV)/bin/pip install --quiet -r benchmarks/peers/requirements.txt
	@touch $(KERAS_STAMP)

bench-training: $(STAMP) $(KERAS_STAMP)  ## The classic recipe against the same in Keras (PNEUMOSCOPE_DATA)
	$(PY) benchmarks/training.py --keras $(KERAS_VENV)/bin/python $(ARGS)

bench-runtime: $(STAMP) $(KERAS_STAMP)  ## Prediction against Keras and the bare network (PNEUMOSCOPE_DATA)
	$(PY) benchmarks/runtime.py --keras $(KERAS_VENV)/bin/python $(ARGS)

bench-install: $(STAMP)  ## How large an installation is that only predicts
	$(PY) benchmarks/install_size.py $(ARGS)

bench-phantom: $(STAMP)  ## How well trivial features tell phantoms apart
	$(PY) benchmarks/phantom_shortcuts.py

bench-localisation: $(STAMP)  ## How often the heat-map of the demo's model peaks in the lesion
	$(PY) benchmarks/phantom_localisation.py demo/run/bundle

bench-duplicates: $(STAMP)  ## Recall and false matches of near-duplicates (PNEUMOSCOPE_DATA)
	$(PY) benchmarks/near_duplicates.py

bench-suspects: $(STAMP)  ## How many planted wrong labels an audit finds (PNEUMOSCOPE_DATA)
	$(PY) benchmarks/label_suspects.py $(ARGS)

bench-memory: $(STAMP)  ## Memory over 50,000 images: it must not grow
	$(PY) benchmarks/memory.py $(ARGS)

bench-serving: $(STAMP)  ## The service under load, beside its runtime and the usual peer (PNEUMOSCOPE_DATA)
	$(PY) benchmarks/serving.py $(ARGS)

bench-gate: $(STAMP)  ## What the input gate rejects and lets pass (BUNDLE, MANIFEST, OUTSIDE, PNEUMOSCOPE_DATA)
	$(VENV)/bin/pip download --quiet --no-deps --only-binary=:all: -d .venv-foreign/packages \
	  -r benchmarks/foreign/requirements.txt
	$(PY) benchmarks/foreign_images.py $(BUNDLE) --manifest $(MANIFEST) --outside $(OUTSIDE)

clean:  ## Remove what was built; virtual environments and runs stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage .coverage.*
