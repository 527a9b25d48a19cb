# make book       build the HTML pages from the stored outputs and print the address of the first one
# make test       every check: style, types, pages, links, unit tests with coverage, stored outputs
# make notebooks  run every chapter again in place
# make data       compute the stored sweeps that are missing or stale (about ten minutes)
# make network    record the runs of the language network that are not finished (hours; needs 0.5 GB of weights)
# make lab        open the chapters in JupyterLab, with live sliders
# make pdf        print the book as _build/coevo.pdf (needs Chromium 131 or newer; some minutes)
# make screenshots  photograph the pages that the README shows (needs Chromium)
# make bench      measure the simulator (stored for the book) and time the live sliders (fifteen minutes)
# make lint       style and types only
# make clean      remove what was built (not the environment: for that, remove .venv)
#
# Needs make and any Python from 3.11 to 3.13. To choose one:  make book PYTHON=/path/to/python3

.DEFAULT_GOAL := help
.PHONY: help book test notebooks data network lab pdf screenshots bench lint clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

# The first interpreter that runs, has a supported version and can make an environment.
CANDIDATES := python3.13 python3.12 python3.11 python3 python
PROBE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in $(CANDIDATES); do if "$$p" -c '$(PROBE)' >/dev/null 2>&1; then echo "$$p"; break; fi; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --prefer-binary --no-compile
HTML := _build/html/index.html
CHECKED := _build/check

# One thread per process: neither the speed nor the last digits depend on the number of cores.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
# Another active environment must not leak in.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
unexport MPLBACKEND

header = printf '\n== %s\n' "$(1)"

help:
	@sed -n 's/^# //p' Makefile | head -n 11

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "No Python from 3.11 to 3.13 with the venv module was found. Name one:  make PYTHON=/path/to/python3" >&2; exit 1; fi
	@"$(PYTHON)" -c '$(PROBE)' || { \
	  echo "$(PYTHON) will not do: it takes Python 3.11, 3.12 or 3.13 with the venv module" >&2; exit 1; }
	@$(call header,making $(VENV) with $$("$(PYTHON)" -c 'import sys; print(sys.executable, sys.version.split()[0])'))
	@"$(PYTHON)" -m venv --clear $(VENV)

# Environments are stamped: they change only when the pins or the package's own description do.
$(VENV)/reader.stamp: requirements.txt pyproject.toml | $(BIN)/python
	@$(call header,installing the reader's environment (about a minute, once))
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/reader.stamp
	@$(call header,installing the tools of the checks (once))
	@$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/lab.stamp: requirements-lab.txt $(VENV)/reader.stamp
	@$(call header,installing JupyterLab (once))
	@$(PIP) -r requirements-lab.txt
	@touch $@

# Packages with weights name runtimes that are not used: no dependencies, and the closure is in the files.
WEIGHTS := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-compile --no-deps

$(VENV)/network.stamp: requirements-network.txt requirements-network-small.txt $(VENV)/reader.stamp
	@$(call header,installing the language models (0.5 GB, once))
	@$(WEIGHTS) -r requirements-network.txt
	@touch $@ $(VENV)/network-small.stamp

$(VENV)/network-small.stamp: requirements-network-small.txt $(VENV)/reader.stamp
	@$(call header,installing the small language model of the live test (0.2 GB, once))
	@$(WEIGHTS) -r requirements-network-small.txt
	@touch $@

book: $(VENV)/reader.stamp
	@$(call header,building the pages)
	@$(BIN)/jupyter-book build -q . || { rm -rf _build/html; exit 1; }  # half a build would break the next one
	@echo "Open this page:  $$($(BIN)/python -c 'import pathlib; print(pathlib.Path("$(HTML)").resolve().as_uri())')"

lint: $(VENV)/dev.stamp
	@$(call header,style (ruff))
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(call header,types (mypy --strict))
	@$(BIN)/mypy

# In this order the cheap checks fail first and the last line is pytest's.
test: lint
	@$(call header,pages: a clean build in which every warning is an error)
	@rm -rf $(CHECKED)
	@$(BIN)/jupyter-book build . -q -W -n --keep-going --path-output $(CHECKED)
	@$(BIN)/python book/tools/check_links.py $(CHECKED)/_build/html
	@$(MAKE) --no-print-directory $(VENV)/network-small.stamp || echo "no weights here: the live test will be skipped"
	@$(MAKE) --no-print-directory $(VENV)/lab.stamp || echo "no JupyterLab here: its test will be skipped"
	@$(call header,unit tests with branch coverage, pages in a browser)
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal --benchmark-disable --cov --cov-report=term
	@$(call header,stored outputs: every chapter runs and gives the same numbers (nbval))
	@PYTHONPATH=tests $(BIN)/python -m pytest -q -p warm_kernels --nbval --nbval-current-env \
	  --nbval-sanitize-with tests/nbval.cfg \
	  --benchmark-disable -n 2 --dist loadfile notebooks

notebooks: $(VENV)/reader.stamp
	@$(call header,running the chapters)
	@$(BIN)/python book/tools/execute.py

data: $(VENV)/reader.stamp
	@$(call header,computing the stored sweeps)
	@$(BIN)/python -m coevo.sweeps --workers 2

# One run or several:  make network RUNS="shared-1 frozen-1"
network: $(VENV)/network.stamp
	@$(call header,recording the language network)
	@$(BIN)/python -m coevo.network.language.study $(RUNS)

lab: $(VENV)/lab.stamp
	@$(BIN)/jupyter lab notebooks

pdf: book $(VENV)/dev.stamp
	@$(call header,printing the book)
	@$(BIN)/python book/tools/print_book.py _build/html _build/coevo.pdf
	@echo "Open this file:  _build/coevo.pdf"

screenshots: book $(VENV)/dev.stamp
	@$(call header,photographing pages)
	@$(BIN)/python book/tools/screenshots.py

bench: $(VENV)/dev.stamp
	@$(call header,benchmarks)
	@cd tests && ../$(BIN)/python -m benchmarks.measure
	@$(BIN)/python -m pytest -q --benchmark-only -o python_files='bench_*.py' tests/benchmarks

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage .coverage.* *.egg-info
	find coevo tests book notebooks -name __pycache__ -prune -exec rm -rf {} +
