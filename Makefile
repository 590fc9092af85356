# What a developer does with Firebreak. `make` or `make help` lists it.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 10s
SOAK     ?= 10m

GO      := go
TOOL    := $(GO) tool -modfile=packaging/tools.mod
# The product holds no C. -buildvcs would ask git, which refuses a tree that
# belongs to somebody else; the version is stamped in anyway.
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
TEST    := -race -shuffle=on
# The lab measures time and boots computers: it comes after the rest, alone, and
# never from the test cache.
NOT_LAB  = $(shell $(GO) list ./... | grep -v '/firebreak/lab$$')
LAB     := -count=1 -timeout=20m ./lab

.PHONY: help build demo test lint fuzz bench lab soak package check

help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

build: ## build bin/firebreak, and bin/firebreak.exe for Windows
	$(BUILD) -o bin/firebreak ./cmd/firebreak
	GOOS=windows $(BUILD) -o bin/firebreak.exe ./cmd/firebreak

demo: ## watch a threat being found, blocked, closed and proved gone (as root; 30 s)
	@$(BUILD) -o bin/firebreak ./cmd/firebreak
	@$(BUILD) -o bin/demo ./lab/demo
	@bin/demo bin/firebreak

test: ## run all tests, and those in the lab when root; the last line counts them
	@$(GO) run -buildvcs=false ./lab/tally -cover-of ./agent/...,./actions -at-least 80 -- \
		$(TEST) $(NOT_LAB) -- $(TEST) $(LAB)

lint: ## vet, staticcheck and gofumpt, for Linux and for Windows
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(TOOL) staticcheck ./...
	GOOS=windows $$($(TOOL) -n staticcheck) ./...
	@unformatted=$$($(TOOL) gofumpt -l .); test -z "$$unformatted" || { echo "gofumpt -w:" $$unformatted; exit 1; }
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "golangci-lint is not installed: left out"; fi

fuzz: ## run every fuzz target for FUZZTIME (10s)
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r pkg; do \
		for target in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg" || exit 1; \
		done; \
	done

bench: ## run all benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

lab: ## run the tests on real hosts (as root); a host that cannot boot fails
	FIREBREAK_LAB=required $(GO) test -v $(LAB)

soak: ## watch the idle agent for SOAK (10m), cut the power 1,200 times, change rules 10,000 times
	FIREBREAK_REAPPLICATIONS=10000 FIREBREAK_LINKS=4096 $(GO) test -v -count=1 -timeout=30m -run 'TestIsolation' ./platform
	FIREBREAK_LAB=required SOAK=$(SOAK) POWER_CUTS=1000 HOST_CUTS=200 \
		$(GO) test -v -count=1 -timeout=2h -run 'TestIdle|TestPowerCut|TestHostPowerCut' ./lab

package: build ## pack what build made into dist/, with checksums
	mkdir -p dist
	tar --sort=name --owner=0 --group=0 --mtime=@0 -C bin -czf dist/firebreak-$(VERSION)-linux-$$($(GO) env GOARCH).tar.gz firebreak
	tar --sort=name --owner=0 --group=0 --mtime=@0 -C bin -czf dist/firebreak-$(VERSION)-windows-$$($(GO) env GOARCH).tar.gz firebreak.exe
	cd dist && sha256sum firebreak-$(VERSION)-* > SHA256SUMS

check: lint test ## what must pass before a change is merged
