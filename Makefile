# Everything a developer runs. `make help` lists it.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO       ?= go
FUZZTIME ?= 3s
SOAK     ?= 3600
PACKAGES := ./...
# Ends what hangs; never a machine that has other things to do.
TIMEOUT  := 60m

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: envoy ## start the gateway on a fake provider and show what it does (EXIT=1: then exit)
	@bin/aigateway demo $(if $(EXIT),--exit)

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
soak: envoy ## watch memory for PLATEAU (15m), kill the ledger and the gateway KILLS times each (3000), simulate for SOAK seconds (3600)
	E2E_PLATEAU=$(or $(PLATEAU),15m) $(GO) test -run 'TestMemoryFlattens$$' -count=1 -timeout 0 -v ./e2e
	LEDGER_FAULT_ROUNDS=$(or $(KILLS),3000) $(GO) test -run 'TestKillAtEveryStep$$' -count=1 -timeout 0 -v ./ledger
	E2E_KILLS=$(or $(KILLS),3000) $(GO) test -run 'TestControlPlaneDiesInCommits$$' -count=1 -timeout 0 -v ./e2e
	$(GO) test -run 'TestSimulation$$' -count=1 -timeout 0 -v ./ledger -sim.seconds=$(SOAK)

.PHONY: mutants
mutants: envoy ## change the code that decides money and see tests fail (FILES='ledger/*', N=100): about 20 minutes
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
	@bin/aigateway envoy install

.PHONY: build
build: ## build bin/aigateway
	@$(GO) build -trimpath -o bin/aigateway ./cmd/aigateway

.PHONY: catalog
catalog: build ## compare pricing/prices.yaml with published data (IMPORT=1: take over what rises, add what two sources price)
	@bin/aigateway catalog $(if $(IMPORT),import --add-agreed,diff) --file pricing/prices.yaml

.PHONY: sdks
sdks: ## install the client SDKs that the end-to-end tests drive
	@e2e/sdk/install.sh

.PHONY: clients
clients: envoy ## install real agents and SDKs, run each through the gateway, and print what they saw (ONLY='Codex,llm')
	@e2e/clients/install.sh
	$(GO) run ./e2e/clients $(if $(ONLY),-only '$(ONLY)')
