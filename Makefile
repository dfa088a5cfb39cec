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
FILE ?= testdata/tour.pcap
STORE ?= ntpac-store
BIN := bin/ntpac

.PHONY: all build run test fmt vet staticcheck race fuzz-smoke fuzz fuzz-seeds cross accuracy truth truth-damaged law laws evidence bench bench-memory clean help

all: build

# The program, at bin/ntpac.
build:
	@mkdir -p bin
	@$(GO) build -trimpath -o $(BIN) ./cmd/ntpac

# Artifacts out of FILE, into STORE (default: ntpac-store).
run: build
	@$(BIN) run --store $(STORE) $(FILE)

# The tests, with what makes them worth running: format, vet, static analysis, race detector.
test: fmt vet staticcheck race

# Fails where gofmt would change something.
fmt:
	@bad=$$($$($(GO) env GOROOT)/bin/gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted:"; echo "$$bad"; exit 1; fi

# go vet.
vet:
	@$(GO) vet ./...

# staticcheck, in the version of tools/go.mod.
staticcheck:
	@$(GO) tool -modfile=tools/go.mod staticcheck ./...

# The race detector is the one thing that needs cgo. Nothing that is shipped does: the tag makes the store
# take what it takes there.
#
# The tests alone, under the race detector.
race:
	@if scripts/need gcc; then race=1; else race=; echo "WITHOUT THE RACE DETECTOR" >&2; fi; \
	CGO_ENABLED=$${race:-0} $(GO) test $${race:+-race -tags pebblegozstd} -timeout 15m ./...

# The seeds of the fuzz targets run in the tests already; these look for new crashes, from the real captures
# in SHARED too, where there are some.
FUZZTOTAL ?= 5m
FUZZTIME ?= 5m
FUZZ ?= .

# The fuzz targets, FUZZTOTAL (default: 5m) divided among them.
fuzz-smoke: fuzz-seeds
	@scripts/fuzz --total $(FUZZTOTAL)

# Every fuzz target, or those that match FUZZ, for FUZZTIME (default: 5m).
fuzz: fuzz-seeds
	@scripts/fuzz $(FUZZTIME) '$(FUZZ)'

# Makes seeds for the fuzz targets of the captures in SHARED, in Go's cache.
fuzz-seeds:
	@if [ -d $(SHARED)/captures ]; then $(GO) run ./e2e/seeds $(SHARED)/captures; \
	else echo "no $(SHARED)/captures: the seeds are those of the repository" >&2; fi

# A day has its seed, so that a failure can be had again that day; the output says it for later.
ROUNDS ?= 10000
SEED ?= $(shell date +%Y%m%d)

# Laws over ROUNDS random histories (default: 10000): packets are lost, doubled, moved, forged.
law:
	@$(GO) test ./e2e/meta -count 1 -v -timeout 60m -run 'TestHistories|TestEach|TestTraffic' -rounds $(ROUNDS) -seed $(SEED) | grep -v '^=== RUN\|^    --- PASS'; \
	exit $${PIPESTATUS[0]}

# Builds what is shipped: Linux on two processors; macOS and Windows for files only.
cross:
	@for t in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
		echo "build $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -o /dev/null ./cmd/ntpac || exit 1; done

# From here on: what needs more than this repository, real captures with ground truth and a generator of big ones.

# Agreement with the ground truth of real captures, in SHARED.
accuracy: build
	$(GO) run ./e2e/accuracy -ntpac $(BIN) -captures $(SHARED)/captures -diff bin/accuracy-diff.jsonl -md bin/accuracy.md \
		-min "run=100,tcp conversation=99,udp conversation=99,stream=99,http request=98,http response=98,dns message=98,tls hello=98,tls sni=98"

# What is called complete must be true to the last artifact; of what is complete in the capture next to nothing
# may be missing.
TRUTH ?= -size 256M -seeds 1,2,3
TRUE := -min "tcp conversation=100,udp conversation=100,client and server by SYN=100,tcp stream=100,udp stream=100,no gap=100,no conflict=100" \
	-min "http=99.5,dns query=99.5,dns response=99.5,tls=99.5,smtp mail=99.5,ftp file=99.5,smtp credential=99.5,ftp credential=99.5" \
	-min "http called complete=100,dns called complete=100,tls called complete=100,smtp mail called complete=100,ftp file called complete=100,credential called complete=100"

# Generated captures, whose contents are known exactly.
truth: build
	$(GO) run ./e2e/truth -ntpac $(BIN) -genbench $(SHARED)/bench/genbench -diff bin/truth-diff.jsonl $(TRUTH) $(TRUE)

DAMAGE := -loss 0.01 -reorder 0.02 -dup 0.01 -overlap 0.01 -midstream 0.1 -onesided 0.05 -frag 0.02 -retx 0.02 -conflict 0.002

# The same with loss, disorder, duplicates, missing beginnings and directions, fragments and forged segments.
truth-damaged: build
	$(GO) run ./e2e/truth -ntpac $(BIN) -genbench $(SHARED)/bench/genbench -knobs "$(DAMAGE)" -diff bin/truth-damaged-diff.jsonl $(TRUTH) $(TRUE) \
		-min "one-sided=100,tcp stream with holes=100,udp stream with holes=100,gap map=99.5,conflict in both versions=100"

LAWS ?= -size 64M

# Workers, taps, the order of files, kills and repetition change no result.
laws: build
	$(GO) run ./e2e/laws -ntpac $(BIN) -genbench $(SHARED)/bench/genbench $(LAWS)

EVERY ?= 1

# One real capture in EVERY: exports hold exactly the packets of a selection, verify finds every changed byte.
evidence: build
	$(GO) run ./e2e/evidence -ntpac $(BIN) -captures $(SHARED)/captures -every $(EVERY)

CAPTURE ?=
SIZE ?= 1G

# CPU time of every stage on CAPTURE, or on a generated one of SIZE (default: 1G).
bench: build
	$(GO) run ./bench/stages -ntpac $(BIN) -size $(SIZE) -genbench $(SHARED)/bench/genbench "$(CAPTURE)"

# Peak memory of whole runs over captures of SIZE and of four times that.
bench-memory: build
	$(GO) run ./bench/stages -memory -ntpac $(BIN) -size $(SIZE) -genbench $(SHARED)/bench/genbench

# The targets, each with the line above it.
help:
	@awk '/^#/ { c = substr($$0, 3); next } /^[a-z-]+:/ && c != "" { sub(/:.*/, ""); printf "%-14s %s\n", $$0, c } { c = "" }' Makefile

# Takes away the program and the store.
clean:
	rm -rf bin ntpac-store
