# Kilonova: build, try, test, package. "make help" lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
NODES    ?= 3
# SEEDS and FIRST say which runs "make sim" makes.
SEEDS    ?= 100
FIRST    ?= 1
# TIMEOUT bounds each half of "make test", in the notation of go test.
TIMEOUT  ?= 45m
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0)
DEB      := bin/kilonova_$(shell packaging/version "$(VERSION)")_amd64.deb
LDFLAGS  := -s -w -X main.version=$(VERSION)
# One way to compile for all but the race detector: what one target compiled, the next finds in Go's cache.
PLAIN    := CGO_ENABLED=0 $(GO)

# The tests of these packages make hosts and boot guests; all others run anywhere.
E2E  := ./e2e/...
UNIT  = $(shell $(GO) list ./... | grep -v '/e2e\(/\|$$\)')

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: run
run: deps build ## make a cluster of NODES=3 hosts on this machine, boot a guest in it, and stay until Ctrl-C (root)
	@mkdir -p bin && $(PLAIN) build -trimpath -o bin/run ./e2e/run
	@exec bin/run --nodes $(NODES) --kilonova bin/kilonova

.PHONY: build
build: ## build bin/kilonova, one static binary
	@echo "building bin/kilonova $(VERSION)"
	@mkdir -p bin
	@$(PLAIN) build -trimpath -ldflags '$(LDFLAGS)' -o bin/kilonova .

.PHONY: deps
deps: ## install the Debian packages that are missing (root)
	@scripts/deps

.PHONY: test
test: deps build ## run every test: race detector, fuzz seeds, simulation, real guests on several hosts (root)
	@status=0; \
	echo "unit tests and clusters in one process, with the race detector"; \
	GO='$(GO)' scripts/race -timeout $(TIMEOUT) $(UNIT) || status=1; \
	echo "end-to-end tests: hosts, libvirt, guests"; \
	KILONOVA_BIN=$(CURDIR)/bin/kilonova $(PLAIN) test -trimpath -p 2 -timeout $(TIMEOUT) $(E2E) || status=1; \
	exit $$status

.PHONY: test-operations
test-operations: deps build ## tell the stories of operations alone, whole: each of them on real guests that count (root; STORY=regex, PLACES=regex)
	@KILONOVA_TEST_OPERATIONS=1 KILONOVA_BIN=$(CURDIR)/bin/kilonova $(PLAIN) test -trimpath -count=1 -timeout 0 ./e2e -run '$(or $(STORY),Test(Operations|Moves))' -v -args -places '$(PLACES)'

.PHONY: test-unit
test-unit: ## run the tests that need neither root nor libvirt
	@KILONOVA_TEST_UNIT=1 $(PLAIN) test -trimpath -short -timeout $(TIMEOUT) ./...

.PHONY: sim
sim: ## simulate SEEDS=100 clusters in virtual time, from FIRST=1 on; a failure prints how to run its seed again
	@$(PLAIN) test -trimpath ./e2e/sim -run 'TestSim$$' -count=1 -timeout 0 -v -args -seeds $(SEEDS) -first-seed $(FIRST) | grep -v '^ *\(=== RUN\|--- PASS\)'

.PHONY: tempest
tempest: deps build ## run OpenStack's own tests against three nodes with simulated guests (root; a part of them: TESTS=regex)
	@$(PLAIN) build -trimpath -o bin/tempest ./e2e/tempest
	@exec bin/tempest --kilonova bin/kilonova $(TESTS)

.PHONY: crash
crash: build ## kill daemons and leaders at every step of every operation, with simulated guests, half an hour (a part of it: CUES=regex)
	@KILONOVA_BIN=$(CURDIR)/bin/kilonova $(PLAIN) test -trimpath -count=1 -timeout 0 -v ./e2e/crash -run 'TestCrash$$' -args -whole -only '$(CUES)'

.PHONY: chaos
chaos: build ## hurt a cluster of five hosts in all ways while clients use it, for DURATION=10m, drawn from SEED (root; CHAOS='-long -driver libvirt ...')
	@KILONOVA_BIN=$(CURDIR)/bin/kilonova $(PLAIN) test -trimpath -count=1 -timeout 0 -v ./e2e/chaos -run 'TestChaos$$' -args -duration $(or $(DURATION),10m) -seed $(or $(SEED),0) $(CHAOS)

.PHONY: bench
bench: deps build ## print the promised figures of speed and size, beside this machine's fsync latency (root; flags in BENCH=)
	@$(PLAIN) build -trimpath -o bin/bench ./e2e/bench
	@CGO_ENABLED=0 GOFLAGS="$${GOFLAGS:-} -trimpath" exec bin/bench --kilonova bin/kilonova $(BENCH)

.PHONY: bench-parts
bench-parts: ## run the benchmarks of the packages
	@$(PLAIN) test -trimpath -run '^$$' -bench . -benchmem -timeout $(TIMEOUT) $(UNIT) | grep -v -e '^ok' -e 'no test files'

.PHONY: deb
deb: build ## build the Debian package in bin/
	@packaging/build-deb bin/kilonova "$(DEB)" "$(VERSION)"

.PHONY: lint
lint: ## check format, vet, staticcheck, known vulnerabilities
	@scripts/lint

.PHONY: clean
clean: ## remove what was built, and what a killed lab left (guest images in /var/cache/kilonova-lab, too, as root)
	@rm -rf bin
	@if [ "$$(id -u)" = 0 ]; then $(PLAIN) run -trimpath ./e2e/run --sweep && rm -rf /var/cache/kilonova-lab; fi
