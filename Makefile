# Targets are documented where they stand; `make` prints the list.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

MODULE  := github.com/dotmesh-io/dotmesh-csi
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOFLAGS_BUILD := -trimpath -buildvcs=false -ldflags '-s -w -X main.linkedVersion=$(VERSION)'
ARCHS   := amd64 arm64
BUF     := go tool -modfile=test/tools/proto/go.mod buf
export CGO_ENABLED ?= 0

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## bin/dotmesh and bin/dm, static
	@mkdir -p bin
	go build $(GOFLAGS_BUILD) -o bin/ ./cmd/dotmesh ./cmd/dm

.PHONY: dist
dist: manifests ## dist/: both programs for each architecture, the manifests, their checksums
	rm -rf dist && mkdir -p dist
	for arch in $(ARCHS); do \
	  mkdir -p dist/linux-$$arch; \
	  GOARCH=$$arch go build $(GOFLAGS_BUILD) -o dist/linux-$$arch/ ./cmd/dotmesh ./cmd/dm; \
	  tar -C dist/linux-$$arch --sort=name --owner=0 --group=0 --mtime=@0 -czf dist/dotmesh-$(VERSION)-linux-$$arch.tar.gz dotmesh dm; \
	done
	cp deploy/rendered/*.yaml dist/
	cd dist && sha256sum *.tar.gz *.yaml > SHA256SUMS

.PHONY: generate
generate: ## the Go code of pkg/api from its protobuf definition
	$(BUF) generate pkg/api --template test/tools/proto/buf.gen.yaml

.PHONY: manifests
manifests: ## deploy/rendered/ from the kustomizations
	test/run render deploy/rendered

.PHONY: check
check: ## lint, test/arch, and that what is derived is up to date: before every commit
	test/run lint arch derived

.PHONY: lint
lint: ## gofmt, vet and the linters of .golangci.yml
	test/run lint

.PHONY: test
test: ## what CI runs: lint, derived files, unit tests, on real ZFS the tagged tests, csi-sanity, the operator on a real API server, several servers, and the scenes on real clusters of one node and of three
	test/run lint derived unit lab zfs sanity operator cluster e2e nodes

.PHONY: test-all
test-all: ## what CI runs, and what is too long for it: the race detector, what takes ZFS minutes, the crash matrix of the server, nodes that come, go and are all replaced, an etcd that is lost, power cuts with a disk that loses what was not flushed, fuzzing, the lab and its image
	test/run lint derived unit race lab zfs long crash sanity operator cluster e2e nodes nodeslong powercut fuzz selftest

.PHONY: test-unit
test-unit: ## everything that needs neither root nor ZFS, test/arch among it
	test/run unit

.PHONY: test-zfs
test-zfs: ## pkg on a real pool, what takes minutes too, but for the crash matrix (test/run lab crash)
	test/run lab zfs long

.PHONY: test-sanity
test-sanity: ## csi-sanity over the real controller, node, server, etcd and ZFS
	test/run lab sanity

.PHONY: test-operator
test-operator: ## the operator against the real kube-apiserver
	test/run lab operator

.PHONY: test-cluster
test-cluster: ## several servers at once
	test/run lab cluster

.PHONY: test-e2e
test-e2e: ## real kubelet, real sidecars, real ZFS
	test/run lab e2e

.PHONY: test-nodes
test-nodes: ## three nodes under the operator: upgrades, and nodes that come, go and are replaced
	test/run lab nodes nodeslong

.PHONY: bench
bench: ## ratios over bare ZFS commands, and the server with many dots; never fails for being slow
	test/run lab bench

.PHONY: demo
demo: ## a cluster of one node, dotmesh on it, a dot's life told with real output (DEMO_KEEP=1 keeps the cluster)
	test/run lab
	deploy/examples/demo
