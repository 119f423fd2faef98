# What there is to do here. All that these need beside git, a C compiler, make, curl, Python 3 and Rust is installed by
# them, and they say so.
#
#   make run      build, and serve at once: a key made for the run, and a mock AI upstream behind the gateway
#   make test     everything that must pass
#   make check    format, lints, documentation, licences and sources of the dependencies
#   make release  the optimised binary, target/release/keygate
#   make release-pgo  the same, laid out by what it was seen to do: target/release-pgo/keygate; takes three times as long
#   make bench    keygate beside nginx, HAProxy, Envoy and bare Pingora: installs them, runs some minutes
#   make instructions  what a decision, a look-up, a refusal take, counted by valgrind: the same at every run
#   make audit    known vulnerabilities of the dependencies (fetches the advisory database)

.DELETE_ON_ERROR:
.PHONY: run test check release release-pgo bench instructions audit sdk browser clients tools fmt clippy doc deny cargo-deny

# Dependencies are as in Cargo.lock, here and in CI.
CARGO := cargo
LOCKED := --locked

CARGO_DENY_VERSION := 0.20.2
RUST_ADVICE := 'keygate: Rust is missing. https://rustup.rs says how to install it; then run make again.'

# A quick build, the same one that the tests use; `make release` makes the one to deploy.
run: tools
	$(CARGO) run $(LOCKED) -- run

release: tools
	$(CARGO) build $(LOCKED) --release

# Profile-guided: under load first, then compiled for that.
release-pgo: tools
	python3 benches/compare/pgo.py

# `benches/compare/compare.py --quick` is shorter.
bench: tools
	python3 benches/compare/compare.py

# `cargo bench --bench micro` times the same and more.
instructions: tools
	@command -v valgrind >/dev/null || .ci/install valgrind
	$(CARGO) bench $(LOCKED) --bench micro -- --instructions

# cargo-nextest runs each test in a process of its own and reports better, but nothing depends on it.
test: tools sdk browser clients
	$(CARGO) test $(LOCKED) --quiet --doc
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  set -x; $(CARGO) nextest run $(LOCKED) --no-fail-fast; \
	else \
	  echo 'keygate: cargo-nextest is not installed; `cargo test` does as well' >&2; \
	  set -x; $(CARGO) test $(LOCKED) --no-fail-fast --lib --bins --tests; \
	fi

check: fmt clippy doc deny

fmt: tools
	$(CARGO) fmt --check

clippy: tools
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings

# Private items are documented too, so public pages may link to them.
doc: tools
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc $(LOCKED) --no-deps --document-private-items

# Without advisories: their database changes, and a check must give the same answer today and tomorrow. `make audit` asks
# for them. What the lock file names for other platforms is fetched once.
deny: cargo-deny
	$(CARGO) deny $(LOCKED) check bans licenses sources

audit: cargo-deny
	$(CARGO) deny check advisories

cargo-deny: tools
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
	  echo 'keygate: cargo-deny is missing; installing: cargo install cargo-deny' >&2; \
	  $(CARGO) install --locked --quiet cargo-deny --version $(CARGO_DENY_VERSION); }

# Pingora's build needs cmake.
tools:
	@command -v $(CARGO) >/dev/null || { echo $(RUST_ADVICE) >&2; exit 1; }
	@command -v cmake >/dev/null || .ci/install cmake

# Chromium, in which the tests use the admin page as a person does.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || .ci/install chromium

# The clients of Debian's packages that the tests call the gateway with; h2load is in a package of another name elsewhere.
clients:
	@command -v curl >/dev/null || .ci/install curl
	@command -v openssl >/dev/null || .ci/install openssl
	@command -v h2load >/dev/null || { \
	  if command -v apt-get >/dev/null; then .ci/install nghttp2-client; else .ci/install nghttp2; fi; }

# The official Python SDKs, which the tests call the gateway with, in a virtual environment of their own.
SDK_REQUIREMENTS := $(wildcard tests/sdk/requirements.txt)

sdk: $(SDK_REQUIREMENTS:tests/sdk/requirements.txt=target/sdk-venv/installed)

target/sdk-venv/installed: tests/sdk/requirements.txt
	@command -v python3 >/dev/null || .ci/install python3
	@python3 -c 'import ensurepip, venv' 2>/dev/null || .ci/install python3-venv
	@echo 'keygate: installing the Python SDKs of $< into target/sdk-venv' >&2
	rm -rf target/sdk-venv
	python3 -m venv target/sdk-venv
	target/sdk-venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
