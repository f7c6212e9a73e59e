# make demo   real calls through a signing and a verifying edge, one readable table
# make test   lint, types, unit, conformance, property and integration tests
# make bench  CPU per INVITE on the real Kamailio, against its own secsipid module
# make container-test SUITE=trixie   demo and test in a fresh Debian (needs Docker)
# Each installs what it needs on Debian bookworm or trixie (apt as root, packages into .venv).

PYTHON := .venv/bin/python
APT := kamailio kamailio-python3-modules kamailio-tls-modules kamailio-extra-modules kamailio-utils-modules \
       kamailio-json-modules kamailio-secsipid-modules secsipidx sip-tester python3-venv

.PHONY: demo test bench lint unit integration container-test install clean

demo: install
	$(PYTHON) -m kamailio_app.lab.demo

test: install lint
	$(PYTHON) -m pytest --cov --cov-report=term

bench: install
	$(PYTHON) -m tests.bench

lint: install
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

unit: install
	$(PYTHON) -m pytest tests/unit tests/conformance tests/property --cov --cov-report=term

integration: install
	$(PYTHON) -m pytest tests/integration

SUITE ?= trixie
container-test:
	docker build --quiet --file docker/test.Dockerfile --build-arg SUITE=$(SUITE) --tag stirshaken-test:$(SUITE) .
	docker run --rm stirshaken-test:$(SUITE)

install: .venv/.installed
	@missing=$$(for p in $(APT); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing $$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi

# Debian's own interpreter: the one that Kamailio embeds
.venv/.installed: pyproject.toml
	@dpkg -s python3-venv >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; }
	/usr/bin/python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
