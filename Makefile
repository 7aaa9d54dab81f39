# `make help` lists the targets. Everything is installed into .venv; system packages that are missing are installed by
# apt-get where that is allowed, else named. PYTHON=/path/to/python3.11 picks the interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SUFFIXES:

VENV := .venv
PREFIX ?= /usr/local
# Where systemd looks for units of this prefix; give UNITDIR=/etc/systemd/system for one that it does not search.
UNITDIR ?= $(PREFIX)/lib/systemd/system
# The same for the user of the units; systemd-sysusers looks below /usr, /usr/local and /etc.
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
DESTDIR ?=
# Extras to install besides, for example EXTRAS=postgres.
EXTRAS ?=
# Further arguments of demo, the tests and whatever measures.
ARGS ?=

# Sources of the compiled module, which the checkout has in its package.
NATIVE := $(wildcard src/native/*)
LIBDIR := $(PREFIX)/lib/readyfs
SHAREDIR := $(PREFIX)/share/readyfs
UNITS := readyfs@.service readyfs-unprivileged@.service
# What .ci/manual writes.
MANUAL := man/man1/readyfs.1 bash-completion/completions/readyfs zsh/site-functions/_readyfs fish/vendor_completions.d/readyfs.fish
SYSUSERS := readyfs.sysusers.conf
EXAMPLE := readyfs.example.toml

export PYTHON

# An installation without its compiled part is whole, and slower; pip shows nothing of what a build says.
define say_obstacle
from readyfs import native
if native.module is None:
    print("readyfs: installed without its compiled part:", native.obstacle)
endef
define read_obstacle
import sys, zipfile
print(zipfile.ZipFile(sys.argv[1]).read("readyfs/_native_obstacle.txt").decode().strip())
endef
export say_obstacle read_obstacle

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.PHONY: demo
demo: $(VENV)/.demo ## make a sample world, mount it and take the tour
	@exec $(VENV)/bin/readyfs demo $(ARGS)

# Tests start the program some thousand times: its bytecode is kept even where the environment says that none is written.
bytecode := PYTHONDONTWRITEBYTECODE=

.PHONY: test
test: $(VENV)/.dev ## run the tests, real mounts included
	@$(bytecode) $(VENV)/bin/python -m pytest $(ARGS)

.PHONY: test-long
test-long: $(VENV)/.dev ## run the tests that take from minutes to hours
	@$(bytecode) $(VENV)/bin/python -m pytest -m long --timeout=0 --numprocesses=0 $(ARGS)

.PHONY: test-clients
test-clients: $(VENV)/.dev ## run the tests with larger programs that read files (downloads these)
	@.ci/setup clients
	$(bytecode) $(VENV)/bin/python -m pytest tests/clients tests/page -m clients --timeout=900 --numprocesses=0 $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## check format, lint and types, and compile with warnings as errors
	@$(VENV)/bin/ruff format --quiet --check . || { $(VENV)/bin/ruff format --check .; exit 1; }
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy
	$(VENV)/bin/python src/native/compiler.py --check

.PHONY: bench
bench: $(VENV)/.dev ## measure beside the raw tree, links, a bind mount and bindfs
	@exec $(VENV)/bin/python -m benchmarks $(ARGS)

.PHONY: bench-state
bench-state: $(VENV)/.dev ## measure what a large state costs, by store and size
	@exec $(VENV)/bin/python -m benchmarks.state measure $(ARGS)

.PHONY: bench-views
bench-views: $(VENV)/.dev ## measure pins, their end, views beside the live tree, lists beside globs, and kept catalogs
	@$(VENV)/bin/python -m benchmarks.views $(ARGS)
	@$(VENV)/bin/python -m benchmarks.views.lists
	@exec $(VENV)/bin/python -m benchmarks.views.memory

.PHONY: bench-flows
bench-flows: $(VENV)/.dev ## measure what questions cost beside plain SQL in sqlite3 and psql
	@exec $(VENV)/bin/python -m benchmarks.flows $(ARGS)

.PHONY: bench-coverage
bench-coverage: $(VENV)/.dev ## measure the page of a million dates: its size, making, opening and going through it
	@exec $(VENV)/bin/python -m benchmarks.coverage $(ARGS)

.PHONY: bench-compare
bench-compare: $(VENV)/.dev ## measure beside another build: ARGS="--other /path/to/its/python"
	@exec $(VENV)/bin/python -m benchmarks.compare $(ARGS)

.PHONY: bench-border
bench-border: $(VENV)/.dev ## measure from which file size on passthrough pays
	@exec $(VENV)/bin/python -m benchmarks.border $(ARGS)

.PHONY: docs
docs: $(VENV)/.dev ## check that the documents match the program
	@$(VENV)/bin/python -m pytest tests/docs $(ARGS)

.PHONY: findings
findings: ## check what decisions assume of other programs (downloads these)
	@result=0
	for script in findings/*.sh; do
	    started=$$SECONDS code=0
	    output=$$("$$script" 2>&1 </dev/null) || code=$$?
	    case $$code in 0) outcome=ok ;; 1) outcome=changed ;; *) outcome=failed ;; esac
	    printf '%-8s %4d s  %s\n' "$$outcome" $$((SECONDS - started)) "$$script"
	    ((code == 0)) || { sed 's/^/    /' <<<"$$output"; result=1; }
	done
	exit $$result

# The recipe makes both stamps; a checkout that was moved needs a new environment, whose scripts hold its path.
ifneq ($(shell cat $(VENV)/.checkout 2>/dev/null),$(CURDIR))
$(VENV)/.demo $(VENV)/.dev: FORCE
endif
$(VENV)/.demo $(VENV)/.dev: pyproject.toml .ci/setup $(NATIVE)
	@if [[ -n "$(filter-out $(NATIVE),$?)" ]]; then
	    .ci/setup $(@:$(VENV)/.%=%)
	else
	    $(VENV)/bin/python src/native/compiler.py
	    touch $@
	fi

.PHONY: FORCE
FORCE:

# The unit and the scripts hold these paths, where a blank ends a word and other characters have meanings of their own.
quoted = '$(subst ','\'',$(1))'
.PHONY: check-paths
check-paths:
	@check() {
	    [[ $$2 =~ ^/[[:alnum:]@:+,._~/-]*$$ ]] && return
	    echo "readyfs: $$1=$$2 cannot be used; give an absolute path of letters, digits and @:+,._~/- only" >&2
	    exit 2
	}
	check PREFIX $(call quoted,$(PREFIX))
	check UNITDIR $(call quoted,$(UNITDIR))
	check SYSUSERSDIR $(call quoted,$(SYSUSERSDIR))
	[[ -z $(call quoted,$(DESTDIR)) ]] || check DESTDIR $(call quoted,$(DESTDIR))

.PHONY: install
install: check-paths ## install below PREFIX (/usr/local): program, man pages, completion, systemd units, example configuration
	@umask 022
	python=$$(.ci/setup install)
	"$$python" -m venv --clear "$(DESTDIR)$(LIBDIR)"
	"$(DESTDIR)$(LIBDIR)/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 --no-compile ".$(if $(EXTRAS),[$(EXTRAS)])"
	"$(DESTDIR)$(LIBDIR)/bin/python" -B -c "$$say_obstacle" >&2
	# Whoever runs the program needs no library that writes man pages.
	tools=$$(mktemp -d)
	trap 'rm -rf "$$tools"' EXIT
	"$(DESTDIR)$(LIBDIR)/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$$tools" click-man
	PYTHONPATH="$$tools" "$(DESTDIR)$(LIBDIR)/bin/python" -B .ci/manual "$(DESTDIR)$(PREFIX)"
	if [[ -n "$(DESTDIR)" ]]; then
	    # The scripts of an environment hold its path, which is another one while staging.
	    grep -rlIF "$(DESTDIR)$(LIBDIR)" "$(DESTDIR)$(LIBDIR)/bin" "$(DESTDIR)$(LIBDIR)/pyvenv.cfg" |
	        xargs -r -d '\n' sed -i "s|$(DESTDIR)$(LIBDIR)|$(LIBDIR)|g"
	fi
	# Users who start the program cannot write its bytecode. A file of a package that does not compile is that package's.
	"$$python" -m compileall -f -qq -s "$(DESTDIR)$(LIBDIR)" -p "$(LIBDIR)" "$(DESTDIR)$(LIBDIR)/lib" || true
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(UNITDIR)" "$(DESTDIR)$(SYSUSERSDIR)" "$(DESTDIR)$(SHAREDIR)"
	ln -sfn ../lib/readyfs/bin/readyfs "$(DESTDIR)$(PREFIX)/bin/readyfs"
	for unit in $(UNITS); do
	    sed -e "s|/usr/local/lib/sysusers.d/|$(SYSUSERSDIR)/|g" -e "s#/usr/local/\(bin\|share\)/#$(PREFIX)/\1/#g" "systemd/$$unit" >"$(DESTDIR)$(UNITDIR)/$$unit"
	    chmod 644 "$(DESTDIR)$(UNITDIR)/$$unit"
	done
	install -m 644 systemd/$(SYSUSERS) "$(DESTDIR)$(SYSUSERSDIR)/readyfs.conf"
	install -m 644 systemd/$(EXAMPLE) "$(DESTDIR)$(SHAREDIR)/$(EXAMPLE)"
	echo "installed $(DESTDIR)$(PREFIX)/bin/readyfs, and in $(DESTDIR)$(UNITDIR): $(UNITS)"
	[[ -n "$(DESTDIR)" ]] || getent passwd readyfs >/dev/null ||
	    echo "the units run as the user readyfs, which is made by: systemd-sysusers $(SYSUSERSDIR)/readyfs.conf"

# For this distribution or a newer one, by its C library; for any Python from 3.11 on.
.PHONY: wheel
wheel: ## build a wheel for this distribution, its compiled part included, in dist/
	@python=$$(.ci/setup install)
	tools=$$(mktemp -d)
	trap 'rm -rf "$$tools"' EXIT
	"$$python" -m venv "$$tools"
	"$$tools/bin/python" -m pip wheel --quiet --disable-pip-version-check --use-pep517 --no-deps --wheel-dir "$$tools/wheel" .
	for wheel in "$$tools"/wheel/*.whl; do
	    if [[ $$wheel == *-none-any.whl && $${READYFS_NATIVE:-} != no ]]; then
	        echo "readyfs: the compiled part of a wheel cannot be built: $$("$$python" -c "$$read_obstacle" "$$wheel")" >&2
	        exit 1
	    fi
	    install -D -m 644 -t dist "$$wheel"
	    echo "built dist/$${wheel##*/}"
	done

.PHONY: uninstall
uninstall: check-paths ## remove exactly what install put there; configuration and state stay
	@rm -rf "$(DESTDIR)$(LIBDIR)"
	rm -f "$(DESTDIR)$(PREFIX)/bin/readyfs" "$(DESTDIR)$(SYSUSERSDIR)/readyfs.conf" "$(DESTDIR)$(SHAREDIR)/$(EXAMPLE)"
	for unit in $(UNITS); do rm -f "$(DESTDIR)$(UNITDIR)/$$unit"; done
	for file in $(MANUAL); do rm -f "$(DESTDIR)$(PREFIX)/share/$$file"; done
	rm -f "$(DESTDIR)$(PREFIX)"/share/man/man1/readyfs-*.1
	[[ ! -d "$(DESTDIR)$(SHAREDIR)" ]] || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(SHAREDIR)"

.PHONY: clean
clean: ## remove .venv and every cache
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
