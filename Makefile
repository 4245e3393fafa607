# Everything a user or a test needs is made from here; `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/swift-stratovirt
BUILD := .build/release
BINARY := .build/stratovirt
ARM64_BINARY := .build/stratovirt-aarch64

.PHONY: help build boot test test-full test-unit test-asan test-tsan fuzz bench format lint clean arm64 arm64-lab

help:
	@echo "make boot       build the monitor and a guest, and boot it to a shell on this terminal"
	@echo "make test       unit tests, tests on /dev/kvm, and one lab boot of each kind"
	@echo "make test-full  the whole matrix of guests as well"
	@echo "make test-unit  only what needs neither a guest kernel nor the lab"
	@echo "make test-asan  the same under AddressSanitizer, make test-tsan under ThreadSanitizer"
	@echo "make fuzz       every parser of outside data under libFuzzer: make fuzz SECONDS=60 TARGET=qmp"
	@echo "make bench      instructions, start, memory, boot and disk, beside the same in C and beside QEMU"
	@echo "make build      the release executable, $(BINARY)"
	@echo "make arm64      cross-compiles the release executable, $(ARM64_BINARY), and the tests"
	@echo "make arm64-lab  sets up an emulated aarch64 machine and its guests; make test uses it where it is there"
	@echo "make lint       formatting and style"
	@echo "make format     formats every source file"
	@echo "make clean      removes what was built here; caches stay in $(CACHE)"

# The stripped copy is what runs: its size and memory are what the budgets are about.
build:
	@echo "==> building the release executable"
	@Lab/install-packages --quiet libc6-dev binutils
	@# Through a pipe: on a terminal the compiler gets another option, and would build everything anew.
	@swift build -c release --product stratovirt --traits StaticExecutable --disable-local-rpath \
		-Xlinker --symbol-ordering-file=$(CURDIR)/Benchmarks/start.order -Xlinker --no-warn-symbol-ordering 2>&1 | cat
	@strip -o $(BINARY).new $(BUILD)/stratovirt && mv $(BINARY).new $(BINARY)
	@ls -l $(BINARY) | awk '{ printf "==> %s, %.1f MB\n", $$NF, $$5 / 1e6 }'

boot: build
	@Lab/boot $(BINARY)

test: build
	@Lab/run-tests short

test-full: build
	@Lab/run-tests full

arm64:
	@echo "==> cross-compiling for aarch64"
	@Lab/arm64 product $(ARM64_BINARY)
	@Lab/arm64 build --build-tests

arm64-lab:
	@Lab/lab setup --arch aarch64
	@Guest/build-all --arch aarch64

bench: build
	@Benchmarks/all

test-unit:
	@Lab/run-tests unit

test-asan:
	@Lab/run-tests address

test-tsan:
	@Lab/run-tests thread

fuzz:
	@Fuzz/run --seconds $(or $(SECONDS),60) $(TARGET)

lint:
	@swift format lint --strict --recursive Package.swift Sources Tests Fuzz

format:
	@swift format --in-place --recursive Package.swift Sources Tests Fuzz

clean:
	@rm -rf .build .build-*
