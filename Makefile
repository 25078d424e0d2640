# vmcg. `make help` lists what can be done.

export PATH := $(HOME)/.cargo/bin:$(PATH)
CARGO ?= cargo
SCALE ?= 1
KERNEL = --package vmcg-kernel --target x86_64-unknown-none --release
HOST = --workspace --exclude vmcg-kernel
VMCG = $(or $(CARGO_TARGET_DIR),target)/release/vmcg
RIG = $(or $(CARGO_TARGET_DIR),target)/rig

.PHONY: help setup build check test bench demo test-npt test-rig bench-npt clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

setup: ## Install what is missing (the other targets do it themselves)
	@tests/setup.sh

build: setup ## Build the one file that is vmcg: target/release/vmcg
	$(CARGO) build --release --package vmm

check: setup ## Formatting, lints for host and guest kernel, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(HOST) --all-targets -- -D warnings
	$(CARGO) clippy $(KERNEL) -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc $(HOST) --no-deps --quiet
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc $(KERNEL) --no-deps --quiet

test: setup ## All tests, end-to-end ones under /dev/kvm included (NO_KVM=1 leaves those out and says so)
	@if [ -n "$(NO_KVM)" ] || tests/rig/usable.sh; then $(CARGO) test; \
	else NO_KVM=1 $(CARGO) test && tests/rig/npt.sh $(RIG); fi

bench: build ## Measure; prints a table and writes target/bench.json
	$(CARGO) run --release --quiet --package vmcg-tests --bin bench
	$(CARGO) bench --package memcg --bench order
	$(CARGO) bench --package memcg --bench accounting

demo: build ## The case study of 2008 at 1/8 scale (SCALE=8: full size)
	@if tests/rig/usable.sh; then VMCG=$(VMCG) tests/demo.sh $(SCALE); \
	else tests/rig/demo.sh $(RIG) $(VMCG) $(SCALE); fi

test-npt: setup ## The end-to-end tests on emulated nested paging (TESTS=names; TESTS=ci: the part CI runs)
	@tests/rig/npt.sh $(RIG) $(TESTS)

test-rig: setup ## The rig that test-npt boots, tested itself
	@tests/rig/prepare.sh $(RIG)
	@tests/rig/selftest.sh $(RIG)

bench-npt: setup ## Linux's own memory controller and vmcg side by side, on emulated nested paging
	@tests/rig/bench.sh $(RIG)

clean: ## Remove everything that was built
	$(CARGO) clean
