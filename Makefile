# make install   what an edge needs to sign and verify
# make demo      real calls through signing and verifying edges, one readable table
# make test      lint, types, unit, conformance, property and integration tests
# make bench     CPU per INVITE on the real Kamailio, against its own secsipid module
# make container-test SUITE=trixie   demo and test in a fresh Debian (needs Docker)
# Each installs what it needs on Debian bookworm or trixie: Debian packages as root, Python packages into .venv.

PYTHON := .venv/bin/python
EDGE := kamailio kamailio-python3-modules python3-venv
TOOLS := $(EDGE) kamailio-tls-modules kamailio-extra-modules kamailio-utils-modules kamailio-json-modules \
         kamailio-secsipid-modules secsipidx sip-tester

.PHONY: install demo test bench lint unit integration container-test tools debian clean

install: PACKAGES := $(EDGE)
install: debian .venv/.edge

demo: tools
	@$(PYTHON) -m kamailio_app.lab.demo

test: tools lint
	$(PYTHON) -m pytest --cov --cov-report=term

bench: tools
	@$(PYTHON) -m tests.bench

lint: tools
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

unit: tools
	$(PYTHON) -m pytest tests/unit tests/conformance tests/property --cov --cov-report=term

integration: tools
	$(PYTHON) -m pytest tests/integration

SUITE ?= trixie
container-test:
	docker build --quiet --file docker/test.Dockerfile --build-arg SUITE=$(SUITE) --tag stirshaken-test:$(SUITE) .
	docker run --rm stirshaken-test:$(SUITE)

tools: PACKAGES := $(TOOLS)
tools: debian .venv/.tools

debian:
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends -o=Dpkg::Use-Pty=0 $$missing >/dev/null; \
	fi

# Debian's own interpreter: the one that Kamailio embeds
.venv/.edge: pyproject.toml | debian
	/usr/bin/python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.tools: .venv/.edge
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
