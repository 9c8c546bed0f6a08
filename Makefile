# Every target prepares .venv by itself (about 10 GB, 2 to 5 minutes, once) and is instant when nothing changed.
#   make PYTHON=/path/to/python3.11 ...   another interpreter
#   make TORCH_INDEX=URL ...              a pip index to take torch from, for example one with CPU builds
#   make SERVE=0 demo                     make the demo, check that its server answers, and end
SHELL := /bin/bash
READY := .venv/.ready
PY := .venv/bin/python
BREASTKIT := .venv/bin/breastkit
# Tests run side by side: threads within each would only compete for the cores. Those of one file stay together and in
# order, because many share a server and what is stored there; the order of the files is that of tests/conftest.py.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
SERVE ?= 1
export PYTHON TORCH_INDEX
# Nothing is written into the home folder, and MLflow does not tell its makers that it was used.
export MPLCONFIGDIR ?= $(CURDIR)/.venv/.matplotlib
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help demo serve test test-all lint docs notebooks bench soak environment FORCE
help:
	@echo "make demo      make phantom studies, run the pipelines on them, serve them to annotate"
	@echo "make serve     serve the demo's studies and results on http://127.0.0.1:8000 again"
	@echo "make test      the tests (under 20 minutes on two cores)"
	@echo "make test-all  the tests with the slow ones, those that need an accelerator, and new random examples"
	@echo "make lint      style, types, import directions, what configs may name"
	@echo "make docs      the documentation as a site to open in a browser: work/site/index.html"
	@echo "make notebooks runs the walkthroughs anew and writes what they show (ten minutes)"
	@echo "make bench     benchmarks, as ratios within one run"
	@echo "make soak      20 clients on the annotation server for twenty minutes: no error, no growing memory"

demo: $(READY)
	@$(BREASTKIT) demo $(if $(filter 0,$(SERVE)),--no-serve)

serve: $(READY)
	@$(BREASTKIT) demo --serve

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m "" --hypothesis-profile default

# .pre-commit-config.yaml runs the same commands; a test compares the two.
lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_imports.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --config-file tools/docs/mkdocs.yml --site-dir $(abspath work/site)
	@echo "Written: work/site/index.html"

# One thread: what they show is not to depend on the number of cores.
notebooks: $(READY)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) tools/docs/walkthroughs.py

bench: $(READY)
	$(BREASTKIT) bench

soak: $(READY)
	$(BREASTKIT) bench soak

environment: $(READY)

# A virtual environment whose interpreter is gone, or that was made in another folder, is made anew.
WORKS := $(shell [ -x $(PY) ] && [ "$$(cat .venv/.steps/place 2>/dev/null)" = "$$PWD" ] && echo yes)
$(READY): pyproject.toml constraints.txt tools/environment.sh tools/install.py tools/fetch_viewer.py $(if $(WORKS),,FORCE)
	@bash tools/environment.sh

FORCE:
