# make test        everything: what is missing is installed, then linters, the tests of all modules, some fuzzing
# make lint        gofmt, go vet, staticcheck
# make fuzz        each fuzz target for FUZZTIME: a number of inputs (300000x) or a time (60s)
# make bench       the benchmarks of all modules; writes docs/benchmarks.md
# make audit       testssl.sh, sslscan, nmap, slowhttptest and h2spec against the quickstart; some minutes
# make vuln        govulncheck over all modules
# make quickstart  the secured chat on https://localhost:8443

FUZZTIME ?= 300000x
modules = $(shell find . -name node_modules -prune -o -name testdata -prune -o -name go.mod -printf '%h\n' | sort)

# A browser, an identity provider, Node, nginx or Python that is missing is a failure here, not something to leave out.
export WSS_REQUIRE_CHROMIUM = 1
export WSS_REQUIRE_IDP = 1
export WSS_REQUIRE_NODE = 1
export WSS_REQUIRE_NGINX = 1
export WSS_REQUIRE_PYTHON = 1
# In a container the tree often belongs to another user, and git then refuses to say which commit this is.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

.PHONY: help test lint fuzz bench audit vuln quickstart bin/testrun

# First, so that a bare make installs nothing and runs nothing.
help:
	@sed -n 's/^# \(make [a-z]\)/\1/p' Makefile

test: bin/testrun
	@bin/testrun -fuzztime=10000x

lint: bin/testrun
	@bin/testrun -only=lint

fuzz: bin/testrun
	@bin/testrun -only=fuzz -fuzztime=$(FUZZTIME)

bench:
	@set -e; for m in $(filter-out ./benchmarks,$(modules)); do echo "== $$m"; go -C $$m test -run='^$$' -bench=. -benchmem ./...; done
	@echo "== ./benchmarks"; go -C benchmarks test -run='^$$' -bench=. -benchmem -count=3 -timeout=2h -report=../docs/benchmarks.md

audit:
	@scripts/prepare audit
	@go run ./internal/audit

vuln:
	@set -e; for m in $(modules); do echo "== $$m"; go -C $$m run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...; done

quickstart:
	@go run ./examples/quickstart

bin/testrun:
	@scripts/prepare
	@go build -o $@ ./internal/testrun
