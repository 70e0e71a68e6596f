# Flyball: make demo shows it, make test proves it, make build builds it.
GO      ?= go
ARGS    ?=
BIN     := bin/flyball
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Without cgo the binary is static; the race detector alone needs it. One
# setting for all else lets builds, vet and tests share what is compiled.
export CGO_ENABLED = 0

# What the race detector would slow down or change is tested without it too, and
# at full length: allocations and ratios, simulations, recorded history; of
# approvals, all 10,000 interleavings.
UNDISTURBED := ./eval ./provider ./internal/stats ./internal/ingest

# Folders whose tests run in Node: a real browser, OpenFeature's own clients, and
# examples in other languages.
NODE_TESTS := dashboard internal/api/testdata/ofrep docs/examples

.PHONY: build schema screenshots demo test check deps bench bench-eval bench-server bench-stream bench-ingest bench-judge bench-autorollback pictures nightly fuzz fmt clean

build: dashboard/dist/index.html ## one static binary
	$(GO) build -o $(BIN) ./cmd/flyball

# The dashboard, built from its lock file when its sources are newer. Without
# Node the program is built all the same, and says so where the dashboard is.
dashboard/dist/index.html: dashboard/node_modules/.package-lock.json dashboard/index.html dashboard/vite.config.ts $(shell find dashboard/src dashboard/public -type f)
	@if command -v npm >/dev/null; then cd dashboard && npm run --silent build && touch dist/index.html; fi

dashboard/node_modules/.package-lock.json: dashboard/package.json dashboard/package-lock.json
	@if command -v npm >/dev/null; then cd dashboard && npm ci --ignore-scripts --no-audit --no-fund --silent && touch node_modules/.package-lock.json; \
	else echo "Node 20 or later is not here: the program is built without its dashboard" >&2; fi

schema: ## the dashboard's types, of the API's document
	$(GO) run ./cmd/flyball openapi > dashboard/openapi.json
	cd dashboard && npm run --silent schema; rm -f openapi.json

screenshots: build ## a picture of each page, in docs/images
	cd dashboard && npm run --silent screenshots

demo: build ## the whole loop in half a minute: make demo ARGS='--exit --output json'
	@exec $(BIN) demo $(ARGS)

test: deps check build ## everything: vet, lint, race, both databases, a real browser
	cd internal/flagd/testdata/node && npm ci --ignore-scripts --no-audit --no-fund --silent
	cd internal/api/testdata/oidc && npm ci --ignore-scripts --no-audit --no-fund --silent
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m ./...
	$(GO) test -timeout 20m $(UNDISTURBED)
	$(GO) test -timeout 20m -run TestInterleavings ./internal/service
	for f in FuzzRuleset FuzzEvaluate; do $(GO) test ./eval -run '^$$' -fuzz "^$$f$$" -fuzztime 20s -fuzzminimizetime 1s || exit 1; done
	$(GO) -C bench vet ./... && $(GO) -C bench test ./...
	for d in $(NODE_TESTS); do (cd $$d && npm ci --ignore-scripts --no-audit --no-fund --silent && npm test) || exit 1; done

check: ## what needs no tests to run
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt -w these:"; gofmt -l $$(git ls-files '*.go'); exit 1; }

deps: ## what tests need beside Go and Node, from Debian
	@./docs/install-test-deps.sh

bench: ## our figures, and peers beside us
	$(GO) test -run '^$$' -bench . -benchmem ./eval ./internal/stats ./internal/store ./internal/ingest
	cd bench && $(GO) run .

bench-eval: build ## evaluation, beside other SDKs: 3 minutes
	$(GO) -C bench run . -flyball ../$(BIN) $(ARGS)

bench-server: build ## remote evaluation, beside bare net/http: 1 minute
	@command -v wrk >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q wrk; }
	$(GO) -C bench run ./server -flyball ../$(BIN) $(ARGS)

bench-stream: build ## how changes reach 10,000 clients: 2 minutes
	$(GO) -C bench run ./stream -flyball ../$(BIN) $(ARGS)

bench-ingest: build ## how much telemetry a server takes in: 1 minute
	$(GO) -C bench run ./ingest -flyball ../$(BIN) $(ARGS)

bench-autorollback: build ## how fast a bad treatment is taken back, 100 times each: 15 minutes
	$(GO) -C bench run ./autorollback -flyball ../$(BIN) $(ARGS)

bench-judge: ## how soon rules stop a bad rollout, beside others': 4 minutes
	$(GO) -C bench run ./judge $(ARGS)

pictures: ## draws those of docs/statistics.md
	$(GO) -C bench run ./pictures

nightly: deps ## everything at full length
	FLYBALL_NIGHTLY=1 $(GO) test -timeout 60m ./...
	$(MAKE) fuzz FUZZTIME=3m

fuzz: ## each fuzz target for FUZZTIME
	@for t in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$t | grep ^Fuzz); do \
		echo "$$t $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),30s) $$t || exit 1; done; done

fmt:
	gofmt -w $$(git ls-files '*.go')

clean:
	rm -rf bin dashboard/dist/*
