# ntpac: network traffic processing and analysis cluster.
#
#   make run FILE=capture.pcap   the main job: artifacts out of a capture (FILE may be several, or a folder)
#   make test                    every test that needs nothing but this repository
#
# Both install what they need: a Go toolchain of the right version, by the ordinary package clients.

SHELL := /bin/bash
GO := scripts/go
export CGO_ENABLED := 0
SHARED ?= ../shared
FILE ?= testdata/tour.pcapng
STORE ?= ntpac-store
BIN := bin/ntpac

.PHONY: all build run test check fmt vet staticcheck race fuzz-smoke fuzz cross accuracy truth laws bench bench-memory clean help

all: build

build:
	@mkdir -p bin
	@$(GO) build -trimpath -o $(BIN) ./cmd/ntpac

run: build
	@$(BIN) run --store $(STORE) $(FILE)

# The tests, with what makes them worth running: format, vet, static analysis, race detector.
test: fmt vet staticcheck race

fmt:
	@bad=$$($$($(GO) env GOROOT)/bin/gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted:"; echo "$$bad"; exit 1; fi

vet:
	@$(GO) vet ./...

staticcheck:
	@$(GO) tool -modfile=tools/go.mod staticcheck ./...

# The race detector is the one thing that needs cgo; nothing that is shipped does.
race:
	@scripts/need gcc gcc
	CGO_ENABLED=1 $(GO) test -race -timeout 15m ./...

# Ten seconds for every fuzz target: their seeds are in the tests already, this looks for new crashes.
FUZZTIME ?= 10s
fuzz-smoke:
	@scripts/fuzz $(FUZZTIME)

fuzz:
	@scripts/fuzz 5m

# What is shipped: Linux on two processors; macOS and Windows for files only.
cross:
	@for t in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
		echo "build $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -o /dev/null ./cmd/ntpac || exit 1; done

# What needs the shared folder: real captures with ground truth, and the generator of big ones.
accuracy: build
	$(GO) run ./e2e/accuracy -ntpac $(BIN) -captures $(SHARED)/captures -diff bin/accuracy-diff.jsonl -md bin/accuracy.md \
		-min "run=100,tcp conversation=99,udp conversation=99,stream=99,http request=98,http response=98,dns message=98,tls hello=98,tls sni=98"

# What is called complete must be true to the last artifact; of what is complete in the capture next to nothing may be missing.
TRUTH ?= -size 256M -seeds 1,2,3
truth: build
	$(GO) run ./e2e/truth -ntpac $(BIN) -genbench $(SHARED)/bench/genbench -diff bin/truth-diff.jsonl $(TRUTH) \
		-min "tcp stream=100,udp stream=100,http=99.5,dns query=99.5,dns response=99.5,tls=99.5,smtp mail=99.5,ftp file=99.5" \
		-min "http called complete=100,dns called complete=100,tls called complete=100,smtp mail called complete=100,ftp file called complete=100,credential called complete=100"

LAWS ?= -size 64M
laws: build
	$(GO) run ./e2e/laws -ntpac $(BIN) -genbench $(SHARED)/bench/genbench $(LAWS)

# CPU time and Gbit/s per core of every stage, as ratios to the record walk of the same file in the same run.
# Without CAPTURE one of SIZE is generated.
CAPTURE ?=
SIZE ?= 1G
bench: build
	$(GO) run ./bench/stages -ntpac $(BIN) -size $(SIZE) -genbench $(SHARED)/bench/genbench "$(CAPTURE)"

# Peak memory of whole runs over captures of SIZE and of four times that.
bench-memory: build
	$(GO) run ./bench/stages -memory -ntpac $(BIN) -size $(SIZE) -genbench $(SHARED)/bench/genbench

# Every target, with the words that stand above it.
help:
	@awk '/^#/ { c = substr($$0, 3); next } /^[a-z-]+:/ { sub(/:.*/, ""); printf "%-14s %s\n", $$0, c } { c = "" }' Makefile

clean:
	rm -rf bin ntpac-store
