# make install   what an edge needs to sign and verify
# make demo      real calls through signing and verifying edges, one readable table
# make test      lint, types, unit, conformance, property and integration tests, and the SIPp suite
# make sipp      scenarios by SIPp against both edges; SCENARIO=verify-* TARGET=kamailio-exec narrow it down
# make matrix    both edges and Kamailio's secsipid module in one table: tests/sipp/MATRIX.md
# make walk      from an empty directory to a verified call, through a laboratory's STI-PA and STI-CA
# make captures  what that shows: cfg/WALK.md
# make documents cfg/stirshaken.toml and the table of failures, written from the code
# make bench     CPU per INVITE on the real Kamailio, against its own secsipid module
# make bench-stall  what calls that wait for a silent repository cost the others; STALL_OPTIONS=--quick
# make bench-inventory  import and look-up of a million numbers
# make bench-trace  a traceback among ten million calls; CALLS= for another number
# make load      calls a second, response times and memory of whole edges, SIPp calling SIPp; make soak, make cold-cache
# make fuzz      a million mutated Identity headers through verification; COUNT= for another number
# make container-test SUITE=trixie   demo and test in a fresh Debian (needs Docker)
# make docker-test SUITE=trixie      docker/compose.yaml on this machine's Docker: built, up, called, looked at, down
# Each installs what it needs on Debian bookworm or trixie: Debian packages as root, Python packages into .venv.

PYTHON := .venv/bin/python
EDGE := kamailio kamailio-python3-modules python3-venv
TOOLS := $(EDGE) kamailio-tls-modules kamailio-extra-modules kamailio-utils-modules kamailio-json-modules \
         kamailio-secsipid-modules secsipidx sip-tester postgresql libfaketime tshark

.PHONY: install demo test sipp matrix walk captures documents bench bench-inventory bench-trace bench-stall load soak cold-cache fuzz lint unit integration container-test docker-test tools debian clean

install: PACKAGES := $(EDGE)
install: debian .venv/.edge

demo: tools
	@$(PYTHON) -m kamailio_app.lab.demo

test: tools lint
	$(PYTHON) -m pytest --cov --cov-report=term
	$(PYTHON) -m tests.sipp

sipp: tools
	@$(PYTHON) -m tests.sipp $(if $(SCENARIO),--scenario '$(SCENARIO)') $(if $(TARGET),--target '$(TARGET)') $(SIPP_OPTIONS)

# What MATRIX.md shows; secsipid fails some, so its exit status says nothing
matrix: tools
	-@$(PYTHON) -m tests.sipp --target kamailio-exec kamailio-edge secsipid --out build/matrix
	cp build/matrix/matrix.md tests/sipp/MATRIX.md

walk: tools
	@$(PYTHON) -m kamailio_app.cli.main lab walk

captures: tools
	@$(PYTHON) -m tests.captures

documents: tools
	$(PYTHON) -m tests.documents

bench: tools
	@$(PYTHON) -m tests.bench

bench-inventory: tools
	@$(PYTHON) -m tests.bench.inventory

CALLS ?= 10000000
bench-trace: tools
	@$(PYTHON) -m tests.bench.trace --calls $(CALLS)

bench-stall: tools
	@$(PYTHON) -m tests.bench.stall $(STALL_OPTIONS)

load: tools
	@$(PYTHON) -m tests.load

SOAK ?= 4h
soak: tools
	@$(PYTHON) -m tests.load --soak $(SOAK)

CERTIFICATES ?= 10000
cold-cache: tools
	@$(PYTHON) -m tests.load --cold-cache $(CERTIFICATES)

COUNT ?= 1000000
fuzz: tools
	@$(PYTHON) -m tests.fuzz --count $(COUNT)

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
	docker build --quiet --file docker/Dockerfile --target suite --build-arg SUITE=$(SUITE) --tag stirshaken-suite:$(SUITE) .
	docker run --rm --user root stirshaken-suite:$(SUITE) make demo test

docker-test: tools
	SUITE=$(SUITE) $(PYTHON) -m pytest tests/docker

tools: PACKAGES := $(TOOLS)
tools: debian .venv/.tools build/nginx

# Tests start a PostgreSQL of their own; Debian's package would start another where there is none yet
CLUSTERS := /etc/postgresql-common/createcluster.d

debian:
	@case " $(PACKAGES) " in *" postgresql "*) dpkg -s postgresql >/dev/null 2>&1 || { \
		mkdir -p $(CLUSTERS); echo "create_main_cluster = false" >$(CLUSTERS)/stirshaken.conf; };; esac
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends -o=Dpkg::Use-Pty=0 $$missing >/dev/null; \
	fi

# nginx's program alone, for the test of its example: the package would start a web server
build/nginx: | debian
	@command -v nginx >/dev/null || { mkdir -p build && cd build && fetch="apt-get download -qq -o APT::Sandbox::User=root nginx" && \
		{ $$fetch >/dev/null 2>&1 || { apt-get update -qq && $$fetch; }; } && dpkg -x nginx_*.deb nginx && rm nginx_*.deb; }

# Debian's own interpreter: the one that Kamailio embeds
.venv/.edge: pyproject.toml | debian
	/usr/bin/python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[lifecycle]'
	@touch $@

.venv/.tools: .venv/.edge
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
