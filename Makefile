# Every target works as the first command on a fresh clone: it makes .venv when that is missing.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
PYTHON312 ?= python3.12
BIN := .venv/bin
READY := .venv/.installed
FOR_RUNS := .venv/.installed-for-runs
export OMP_NUM_THREADS ?= 1

.PHONY: run test fuzz nightly package rtl synth lint type format bench peers workloads golden schema reports docs install clean help

run: $(FOR_RUNS)  ## simulate the committed ResNet-18 ticket on the edge chip
	$(BIN)/accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt

install: $(READY)  ## make .venv and install accelsim in it, with what its tests need

# Only what simulations need: searches of design spaces, documentation and tests are extras. Nothing is compiled ahead:
# a run uses a fraction of the installed modules, and Python compiles those when they are first loaded.
$(FOR_RUNS): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv && $(BIN)/python -m pip install --progress-bar on --no-compile -c constraints.txt -e . && touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]' && touch $@

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

fuzz: $(READY)  ## 20,000 broken inputs, drawn anew (half an hour)
	ACCELSIM_FUZZ_INPUTS=20000 $(BIN)/python -m pytest tests/fuzz

# timm asks for torchvision, whose binaries fit one build of torch; the models themselves do without it.
nightly: $(READY)  ## checkpoints and architectures of many libraries: imports, and work against torch's own counts (an hour)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[nightly]' && $(BIN)/python -m pip install --quiet --no-deps 'timm>=1.0'
	ACCELSIM_NIGHTLY=1 $(BIN)/python -m pytest tests/nightly tests/golden tests/property tests/timing tests/e2e tests/unit/slt tests/unit/mapping tests/unit/test_cores.py tests/unit/test_language_runs.py

package: $(READY)  ## build sdist and wheel, and run every chip from an installation elsewhere (minutes)
	ACCELSIM_PACKAGE=1 $(BIN)/python -m pytest tests/e2e/test_package.py

rtl: $(READY)  ## the SystemVerilog in rtl/ against the model, whole tickets (minutes); says what to install where tools are missing
	$(BIN)/python rtl/tests/benches.py && ACCELSIM_RTL=1 $(BIN)/python -m pytest tests/rtl

synth: $(READY)  ## map the units of rtl/ to open cell libraries, LIBERTY=files and folders with colons between, and write the cost rows (an hour)
	$(BIN)/python -m rtl.synth "$(LIBERTY)"

lint: $(READY)  ## style, format, import directions
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

type: $(READY)  ## static types
	$(BIN)/mypy

format: $(READY)  ## rewrite the files in the house format, pages wrapped at 100 columns
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/python docs/hooks/wrap.py

bench: $(READY)  ## speed of the generators, the DRAM model and the simulator
	for script in benchmarks/*.py; do $(BIN)/python $$script; done

peers:  ## environments with SCALE-Sim, ZigZag and Stream (Python 3.12), for make bench (docs/benchmarks.md)
	$(PYTHON) -m venv out/peers/scalesim && out/peers/scalesim/bin/python -m pip install --quiet 'scalesim==3.0.0' 'numpy<2.3' 'pandas<3'
	$(PYTHON) -m venv out/peers/zigzag && out/peers/zigzag/bin/python -m pip install --quiet 'zigzag-dse==3.9.1' six
	$(PYTHON312) -m venv out/peers/stream && out/peers/stream/bin/python -m pip install --quiet 'stream-dse==2.1.1' six

workloads: $(READY)  ## search the committed tickets again (hours)
	grep '^accelsim search' workloads/README.md | sed 's|^|$(BIN)/|' | bash -euo pipefail

golden: $(READY)  ## write the golden results, the digests, the README's output and the notebooks' again; review the diff
	ACCELSIM_REGENERATE=1 $(BIN)/python -m pytest tests/golden tests/property/test_timing_digests.py tests/e2e/test_e2e_readme.py tests/e2e/test_notebooks.py

schema: $(READY)  ## write again what is made from the program: schema of results, words of the command line, parsed cost tables
	for module in results.schema cli.words cost.tables; do $(BIN)/python -m accelsim.$$module; done

reports: $(READY)  ## make the example reports again (a minute)
	rm -rf out/reports && $(BIN)/python -m accelsim.report.page_validation
	grep '^accelsim ' reports/README.md | sed 's|^|$(BIN)/|' | bash -euo pipefail

docs: $(READY)  ## build the documentation site in out/site, strictly
	$(BIN)/mkdocs build --strict --quiet

clean:  ## remove caches and outputs, keep .venv
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
