# The two commands: `make run` shows what Graven does, `make test` shows that it does it.

.PHONY: help run test test-vm crash fuzz bench bench-peers soak check packages build

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13

packages:
	@tests/packages.sh

build: packages
	cargo build --release --locked -p graven

run: build ## build, record a small agent, verify
	@tests/demo/run.sh

test: packages ## all tests
	cargo test --locked --workspace
	cargo test --locked -p graven-daemon --features failpoints --test failpoints
	python3 -m unittest discover -s tests/second_verifier
	tests/ops/run.sh

test-vm: ## capture on Debian's kernels 6.1 and 6.12, in qemu
	@tests/packages.sh vm
	python3 tests/vm/matrix.py --self-test
	python3 tests/vm/matrix.py

crash: ## crash the ledger at 10,000 points, on a model of the disk
	GRAVEN_CRASH_POINTS=10000 cargo test --release --locked -p graven-ledger --test crash

fuzz: ## fuzz each parser for FUZZ_S seconds (60), two at a time, with nightly Rust
	@tests/packages.sh fuzz
	@tests/fuzz/run.sh

bench: packages ## one table of figures, in less than ten minutes; cargo build and graven run among them
	cargo build --release --locked -p graven -p graven-bench
	cargo run --release --locked -p graven-bench

bench-peers: ## other ledgers beside Graven: SQLite, Tessera, immudb, Kafka, a plain file; the first time it installs them
	@tests/packages.sh peers
	bench/peers/run install
	cargo build --release --locked -p graven -p graven-bench
	cargo run --release --locked -p graven-bench -- --peers --runs 1 --seconds 5 --records 2000000

soak: packages ## ten minutes of builds under a watching daemon: what grows, and what is lost
	cargo build --release --locked -p graven -p graven-bench
	cargo run --release --locked -p graven-bench -- soak --minutes 10

check: packages ## format, lints, docs, licences
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked -p graven-daemon --features failpoints --test failpoints -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
	cargo deny --locked check bans licenses sources
