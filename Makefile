# Every target first makes what it needs: a .venv with the pinned packages, and the C core built into it.
# Needs Linux, git, make, a C compiler, and Python 3.11 or newer with its headers (another one: make test PYTHON=python3.13).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# Where it is set, each of the thousands of processes that tests start would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

# The Python version is in the stamp's name: another PYTHON makes the .venv anew.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
READY   := $(VENV)/.ready-$(VERSION)
BUILT   := $(VENV)/.built-$(VERSION)
PAGE    := gaggle/report/assets/report.js
CORE    := setup.py $(shell find gaggle -name '*.pyx' -o -name '*.px[di]')

.PHONY: demo test lint bench golden docs build lock clean
.DELETE_ON_ERROR:

demo: build         # against a small site of our own, which --run starts, names as {host}, and stops
	@$(BIN)/python examples/demo_site.py --run $(BIN)/gaggle examples/drupal_loadtest.py \
		--users 8 --hatch-rate 4 --run-time 10s --no-reset-metrics -v --host {host}

# What judges times has the machine to itself; the rest runs on two cores, file by file.
test: build         # all of them; some: .venv/bin/pytest tests/unit/test_plan.py
	@$(BIN)/pytest -m "not soak and not timed" --numprocesses 2 --dist loadfile; code=$$?; \
	$(BIN)/pytest -m "timed and not soak" && exit $$code

lint: build
	@ci/lint

bench: build
	@$(BIN)/python bench/loopback.py

golden: build       # rewrites what tests/golden holds: review the diff like code
	@$(BIN)/pytest --golden

docs: build         # rewrites docs/options.md from the options
	@$(BIN)/python ci/docs

build: $(BUILT) $(PAGE)
	@:

# The HTML report's script and style, from web/.
$(PAGE): $(READY) $(shell find web -path web/node_modules -prune -o -path web/.node -prune -o -type f -print)
	@echo "building the page of the HTML report"
	@$(BIN)/python web/build.py
	@touch $@

# In place and not by pip, for the compiler's words as they are. --force: changed flags in setup.py count too.
$(BUILT): $(READY) $(CORE)
	@echo "building the core"
	@$(BIN)/python setup.py --quiet build_ext --inplace --force
	@touch $@

$(READY): requirements.lock pyproject.toml ci/preflight
	@$(PYTHON) ci/preflight
	@ls $(VENV)/bin/python$(VERSION) >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing the packages of requirements.lock into $(VENV)"
	@$(PIP) --require-hashes --requirement requirements.lock
	@GAGGLE_NO_CORE=1 $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

lock:               # pins the newest versions that pyproject.toml allows
	@ci/lock

clean:
	rm -rf $(VENV) build dist *.egg-info gaggle/*.so gaggle/*.c gaggle/report/assets web/node_modules web/.node .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
