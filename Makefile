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

.PHONY: all build run test check fmt vet staticcheck race fuzz-smoke fuzz cross accuracy truth laws bench bench-memory clean

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
		-min tcp=99 -min udp=99 -min stream=99 -min http=98 -min dns=98 -min tls=98

truth: build
	$(GO) run ./e2e/truth -ntpac $(BIN) -genbench $(SHARED)/bench/genbench -diff bin/truth-diff.jsonl

laws: build
	$(GO) run ./e2e/laws -ntpac $(BIN) -genbench $(SHARED)/bench/genbench

# CPU time and Gbit/s per core of every stage, as ratios to the record walk of the same file in the same run.
# Without CAPTURE one of SIZE is generated.
CAPTURE ?=
SIZE ?= 1G
bench: build
	$(GO) run ./bench/stages -ntpac $(BIN) -size $(SIZE) -genbench $(SHARED)/bench/genbench "$(CAPTURE)"

# Peak memory of whole runs over captures of SIZE and of four times that.
bench-memory: build
	$(GO) run ./bench/stages -memory -ntpac $(BIN) -size $(SIZE) -genbench $(SHARED)/bench/genbench

clean:
	rm -rf bin ntpac-store
