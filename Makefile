# Every target sets up what it needs; nothing has to be installed by hand but a Rust toolchain, a C compiler and Python.

PROJECT ?= ripgrep
ARGS ?=
RUN := .venv/bin/python
CRATES := native/launcher bench/nothing_wrapper

# Pytest and cargo run their own jobs; a jobserver of this make would only confuse the builds under test.
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.PHONY: help setup servers tools try check fix test e2e golden docs pictures dist release bench figures bench-peers bench-peers-install clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-20s %s\n", $$1, $$2 }'

setup: ## Make .venv, build kache with its native launcher, install both and the development tools
	@python="$$(sh tools/find_python.sh)" && "$$python" tools/setup.py

servers: tools ## Install servers and linters that tests use, once: MinIO, Ceph, Azurite, fake-gcs-server, actionlint, helm
	@$(RUN) -m tools.servers

tools:
	@python="$$(sh tools/find_python.sh)" && "$$python" tools/setup.py --tools-only

try: setup ## Build a real project plainly, cold and warm, and print the figures (PROJECT=ripgrep or a path)
	@$(RUN) -m bench.try_kache --project "$(PROJECT)" $(ARGS)

check: tools ## Format, lint, types, layers and house rules; changes nothing
	@$(RUN) -m tools.check

fix: tools ## Format and repair what can be repaired by itself
	@echo "fix: ruff" && $(RUN) -m ruff check --fix --quiet . ; $(RUN) -m ruff format .
	@for crate in $(CRATES); do echo "fix: cargo fmt $$crate" && cargo fmt --manifest-path $$crate/Cargo.toml || exit 1; done
	@echo "fix: rustfmt native/launcher/observer" && rustfmt --edition 2021 --config-path native/launcher native/launcher/observer/lib.rs

test: setup servers ## Run the whole test suite
	@sh tools/filesystem_tools.sh
	@sh tools/debian_toolchain.sh
	@echo "test: the whole suite" && $(RUN) -m pytest -n auto $(ARGS)

e2e: setup ## Run the tests with a real cargo and rustc only
	@sh tools/filesystem_tools.sh
	@sh tools/debian_toolchain.sh
	@echo "test: end to end" && $(RUN) -m pytest -n auto tests/e2e $(ARGS)

golden: setup ## Write golden files anew after a change that was meant; look at the diff
	@echo "golden: writing files anew" && UPDATE_GOLDEN=1 $(RUN) -m pytest -q -k golden tests $(ARGS)

docs: tools ## Generate docs/reference and the man pages from the code, and build the site into build/site
	@$(RUN) -m tools.reference && $(RUN) -m tools.man && $(RUN) -m tools.site

pictures: setup ## Make the pictures of the documentation anew, of a real project (needs chromium)
	@$(RUN) -m tools.pictures $(ARGS)

dist: tools ## Build what a release consists of, for this machine: wheel, source archive, one-program archive (dist/)
	@$(RUN) -m tools.archive $(ARGS)

release: tools ## Make this tree VERSION: the version where it stands, changes/ gathered into CHANGELOG.md; then look, commit, tag
	@$(RUN) -m tools.release prepare "$(VERSION)"

bench: setup ## Measure against plain cargo and the peers installed (ARGS="--only hit,warm")
	@$(RUN) -m bench.run $(ARGS)

figures: tools ## Write README's table and the plots of the benchmark's page from bench/results
	@$(RUN) -m bench.figures

bench-peers: setup ## Measure everybody on projects of different kinds; hours (ARGS="--only other --project ripgrep --rounds 5")
	@$(RUN) -m bench.compare.run $(ARGS)

bench-peers-install: setup ## Install other caches below bench/work, to be measured beside kache
	@$(RUN) -m bench.run --install-peers $(ARGS)

clean: ## Remove what the other targets made, except installed peers
	@echo "clean: .venv, .venv-docs, build output, caches, .try, bench/work"
	@rm -rf .venv .venv-docs .try build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@for crate in $(CRATES); do rm -rf $$crate/target; done
	@if [ -d bench/work ]; then find bench/work -mindepth 1 -maxdepth 1 ! -name peers -exec rm -rf {} +; fi
	@find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +
