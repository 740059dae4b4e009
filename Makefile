# `make demo` and `make test` do everything on a fresh machine that has rustup, Node and a C compiler.
# What is missing is installed, and every step says what it does.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ofa
# Outside the checkout, so that fresh clones and CI find what was built before.
export CARGO_TARGET_DIR ?= $(CACHE)/target
export XDG_RUNTIME_DIR ?= /tmp

OFA := $(CARGO_TARGET_DIR)/debug/ofa
VENV := $(CACHE)/venv
GOLDENS ?= $(or $(OFA_GOLDENS),tests/golden)
# Goldens of a real shape name their architecture and seed, of which their weights are a function.
TINY_MANIFEST := $(shell grep -ls '"arch"' $(GOLDENS)/tiny/manifest.json $(GOLDENS)/manifest.json tests/golden/tiny/manifest.json | head -n 1)
TINY_ARCH := $(shell grep -o '"arch": *"[a-z_]*"' $(TINY_MANIFEST) | grep -o 'ofa_[a-z]*' | cut -c 5-)
TINY_SEED := $(shell grep -o '"seed": *[0-9]*' $(TINY_MANIFEST) | head -n 1 | grep -o '[0-9]*')
TINY_KEYS := $(firstword $(wildcard $(GOLDENS)/keys_$(TINY_ARCH)_fairseq.json) tests/golden/keys_tiny_fairseq.json)
export OFA_TINY_WEIGHTS ?= $(CACHE)/seeded-$(TINY_ARCH)-$(TINY_SEED).safetensors
export OFA_KEEP_TINY_BUNDLE ?= $(CACHE)/tiny-bundle

say = printf '\033[1m== %s\033[0m\n'

.PHONY: help
help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# ---- set-up -------------------------------------------------------------------------------------

.PHONY: tools wasm-target npm chromium seeded-weights
tools:
	@need() { command -v $$1 >/dev/null || { echo "$$1 is missing: install $$2" >&2; exit 1; }; }; \
	  need rustup 'Rust from https://rustup.rs'; need cargo 'Rust from https://rustup.rs'; \
	  need cc 'a C compiler (build-essential, or the Xcode command line tools)'; \
	  need node 'Node 20 or newer from https://nodejs.org'; need npm 'Node 20 or newer from https://nodejs.org'; \
	  node -e 'const [major] = process.versions.node.split("."); if (major < 20) { console.error(`Node $${process.version} is too old: install 20 or newer`); process.exit(1); }'

wasm-target: tools
	@rustup target list --installed | grep -q wasm32-unknown-unknown || \
	  { $(say) 'Adding the wasm32-unknown-unknown target'; rustup target add wasm32-unknown-unknown; }

npm: www/node_modules/.package-lock.json
www/node_modules/.package-lock.json: www/package-lock.json | tools
	@$(say) 'Installing the npm packages of www'
	cd www && npm ci --no-audit --no-fund
	@touch $@

chromium:
	@node www/scripts/browser.mjs --check || { \
	  $(say) 'Installing Chromium and a software GPU driver (apt)'; \
	  sudo=$$(test $$(id -u) = 0 || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq chromium mesa-vulkan-drivers >/dev/null || { \
	    echo 'No Chromium: install Chromium or Google Chrome, or set CHROME to its path' >&2; exit 1; }; }

seeded-weights: ## The weights of the goldens of the real shape (needs Python; skipped without)
	@test -s $(OFA_TINY_WEIGHTS) || { \
	  $(say) 'Making the seeded OFA-Tiny weights'; mkdir -p $(CACHE); \
	  { python3 -m venv $(VENV) && $(VENV)/bin/pip install -q --disable-pip-version-check numpy safetensors && \
	    $(VENV)/bin/python tests/golden/seed_weights.py $(TINY_KEYS) $(TINY_SEED) $(OFA_TINY_WEIGHTS); } \
	  || echo 'Skipped: needs Python 3 with venv, numpy and safetensors; tests of the real shape will say so'; }

STICKERS := $(CACHE)/stickers
.PHONY: stickers
stickers: ## The whole sticker sets that scenes are drawn with (without them a subset in assets/stickers is used)
	@$(say) 'Fetching the sticker sets'
	npm install --silent --no-audit --no-fund --prefix $(STICKERS) @iconify-json/noto@1.2.9 \
	  @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/twemoji@1.2.5 @iconify-json/emojione@1.2.3 \
	  @iconify-json/openmoji@1.2.29

# ---- building -----------------------------------------------------------------------------------

WASM_PROFILE := web
WASM_FEATURES := ,parity
BINDGEN := $(CARGO_TARGET_DIR)/debug/ofa-bindgen
SIMD := -C target-feature=+simd128
# Given to the last step alone, as the backend does not compile with it. ofa-bindgen makes a second file for browsers without
# relaxed SIMD. What kernels need inlined says so itself; the rest, at link time all of it, is a tenth smaller for the threshold.
CPU_PATH := -C target-feature=+relaxed-simd -C llvm-args=-inline-threshold=80

# $(call wasm,gpu or cpu): one wasm file and its bindings in www/wasm. Where the GPU does the arithmetic, this crate's
# own code is small rather than fast.
define wasm
	@$(say) 'Building the $(1) wasm ($(WASM_PROFILE))'
	$(if $(filter cpu,$(1)),RUSTFLAGS="$(SIMD)") cargo rustc --locked --lib --crate-type cdylib --target wasm32-unknown-unknown \
	  --profile $(WASM_PROFILE) --no-default-features --features $(if $(filter cpu,$(1)),threads,$(1))$(WASM_FEATURES) \
	  $(if $(filter gpu,$(1)),--config 'profile.$(WASM_PROFILE).package.ofa.opt-level="s"') --target-dir $(CARGO_TARGET_DIR)-wasm-$(1) \
	  $(if $(filter cpu,$(1)),-- $(CPU_PATH))
	$(BINDGEN) $(CARGO_TARGET_DIR)-wasm-$(1)/wasm32-unknown-unknown/$(WASM_PROFILE)/ofa.wasm www/wasm/$(1) ofa
endef

.PHONY: binary bindgen wasm web
binary: tools ## The native binary, as tests use it
	@$(say) 'Building the native binary'
	cargo build --locked

bindgen: wasm-target
	cargo build --locked -p ofa-bindgen

wasm: bindgen ## The wasm files: one for WebGPU, four for the CPU
	$(call wasm,cpu)
	$(call wasm,gpu)

web: wasm npm ## The npm package and the demo page
	cd www && npm run --silent build

# ---- using --------------------------------------------------------------------------------------

.PHONY: demo
demo: web ## Build everything and open the page in a browser
	cd www && npm run --silent demo

# ---- checking -----------------------------------------------------------------------------------

.PHONY: test test-native test-web test-mpi lint parity parity-web
test: test-native test-web ## Every test, native and in a real browser

test-native: tools chromium seeded-weights
	@$(say) 'Testing natively'
	cargo test --locked

test-mpi: tools ## Training on several ranks, with Open MPI (not part of `make test`)
	@{ command -v mpirun && command -v clang && { ldconfig -p | grep libclang || ls /usr/lib/llvm-*/lib/libclang.so*; }; } >/dev/null 2>&1 || { \
	  $(say) 'Installing Open MPI and libclang (apt)'; \
	  sudo=$$(test $$(id -u) = 0 || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq libopenmpi-dev openmpi-bin libclang-dev clang >/dev/null || { \
	    echo 'No MPI: install Open MPI with its headers, clang and libclang' >&2; exit 1; }; }
	@$(say) 'Testing ranks under mpirun'
	cargo test --locked --features mpi train::several

# A bundle of several small shards, so that downloads can be cut between and within them.
export OFA_TEST_BUNDLE := $(CACHE)/test-bundle
.PHONY: test-bundle
test-bundle: binary
	@$(OFA) init --config tests/golden/seeded.json --tokenizer tests/golden/tokenizer --seed 7 --gain 5 --shard-size 1 \
	  --generation tests/golden/seeded_generation.json --out $(OFA_TEST_BUNDLE)
	@$(OFA) codes convert tests/golden/vqgan/model.safetensors --out $(OFA_TEST_BUNDLE)/vqgan

test-web: web test-bundle chromium
	@$(say) 'Testing in Chromium'
	cd www && npm test

export OFA_BPE ?= $(wildcard $(CURDIR)/../shared/bpe)
parity: binary seeded-weights ## Goldens of the original: make parity GOLDENS=DIR [DEVICE=cpu|gpu]
	$(OFA) parity $(GOLDENS) --device $(or $(DEVICE),cpu) $$(test -s $(OFA_TINY_WEIGHTS) && echo --tiny-weights $(OFA_TINY_WEIGHTS)) $(if $(OFA_BPE),--bpe $(OFA_BPE))

parity-web: web chromium ## The same in Chromium, with each of the wasm files
	cd www && npm run --silent parity -- $(abspath $(GOLDENS))

# ---- the model that ships -------------------------------------------------------------------------

SHIPPED := scenes
SHIPPED_BUNDLE := www/demo/models/$(SHIPPED)
SHIP := $(CACHE)/ship
SEED ?= 2026
COUNT ?= 1000
# The bits that a run trained its weights for, if it did.
TRAINED_FOR = $(shell sed -n '/^\[update\.quantization\]/,/^$$/s/^bits = //p' $(RUN)/recipe.toml 2>/dev/null)
# q8 or q4: what a visitor downloads.
DTYPE ?= q$(or $(TRAINED_FOR),8)
# The scenes whose answers weights are rounded for that were not trained so: not those that they are measured on.
CALIBRATION := --calibrate scenes --seed 2025 --count 1000
# What the card says of the machine, and of what kept the model from its aims.
HARDWARE ?= On two CPU cores
LIMITS ?=

.PHONY: ship eval-shipped parity-shipped palette
ship: binary npm ## Ship a run's best checkpoint: bundle, model card, samples: make ship RUN=runs/scenes-cpu [DTYPE=q4]
	@case $(DTYPE) in q8|q4) ;; *) echo 'DTYPE: expected q8 or q4, found $(DTYPE)'; exit 2;; esac
	$(OFA) pretrain --out $(RUN) --export $(SHIP)/f32 --device cpu $(foreach set,$(SETS),--set '$(set)')
	for dtype in q8 q4; do $(OFA) export $(SHIP)/f32 --out $(SHIP)/$$dtype --dtype $$dtype --device cpu \
	  $$(test $${dtype#q} -ge $(or $(TRAINED_FOR),9) || echo '$(CALIBRATION)') || exit; done
	rm -rf $(SHIPPED_BUNDLE) && cp -r $(SHIP)/$(DTYPE) $(SHIPPED_BUNDLE)
	$(OFA) verify $(SHIPPED_BUNDLE)
	@$(say) 'Measuring f32, q8 and q4 on $(COUNT) scenes'
	for dtype in f32 q8 q4; do $(OFA) evaluate scenes --model $(SHIP)/$$dtype --seed $(SEED) --count $(COUNT) --device cpu \
	  $$(test $$dtype = f32 || echo --reference $(SHIP)/f32) --out $(SHIP)/$$dtype-report || exit; done
	$(OFA) evaluate scenes --model $(SHIPPED_BUNDLE) --seed $(SEED) --count $$(( $(COUNT) / 4 )) --side 256 --device cpu --out $(SHIP)/larger-report
	$(OFA) corpus questions --model $(SHIPPED_BUNDLE) --seed 40 --count 24 --each 6 --side 256 --out $(SHIP)/questions
	$(MAKE) --no-print-directory palette
	node www/scripts/ship.mjs --name $(SHIPPED) --run $(RUN) --f32 $(SHIP)/f32-report --q8 $(SHIP)/q8-report --q4 $(SHIP)/q4-report \
	  --larger $(SHIP)/larger-report/metrics.json --questions $(SHIP)/questions --hardware '$(HARDWARE)' --limits '$(LIMITS)'

eval-shipped: binary ## The shipped model on fresh scenes, as one line of JSON: make eval-shipped SEED=n COUNT=m
	@$(OFA) evaluate scenes --model $(SHIPPED_BUNDLE) --seed $(SEED) --count $(COUNT) --device cpu --json

palette: binary ## What the scene maker of the page draws with
	$(OFA) corpus palette --model $(SHIPPED_BUNDLE) $$(test -f $(SHIPPED_BUNDLE)/recipe.toml || echo --recipe recipes/scenes-cpu.toml) --out www/demo/scene/world.json

parity-shipped: web chromium binary ## The shipped model in Chromium answers as natively, on 100 scenes
	cd www && OFA_SHIPPED_SCENES=100 OFA_SHIPPED_F32=$(SHIP)/f32 node --test --test-concurrency=1 test/shipped.test.mjs

lint: wasm-target npm ## rustfmt, clippy (native and wasm), docs, types, spelling, licences
	@$(say) 'Linting'
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --target wasm32-unknown-unknown --no-default-features --features cpu,gpu,parity,threads -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	cd www && npm run --silent check
	@if test -x $(VENV)/bin/typos || { python3 -m venv $(VENV) && $(VENV)/bin/pip install -q --disable-pip-version-check typos; }; \
	  then $(VENV)/bin/typos; else echo 'Skipped spelling: typos could not be installed'; fi
	@if command -v cargo-deny >/dev/null; then cargo deny --all-features check licenses bans sources; \
	  else echo 'Skipped licences: cargo-deny is not installed'; fi

# ---- measuring ----------------------------------------------------------------------------------

.PHONY: size bench
size: bindgen npm ## Build the release wasm and weigh what a visitor downloads
	$(MAKE) --no-print-directory release-wasm
	cd www && npm run --silent build && node scripts/size.mjs

.PHONY: seeded-bundle
seeded-bundle: test-bundle ## The small bundle of the page, again from its seed
	$(OFA) export $(OFA_TEST_BUNDLE) --out www/demo/models/seeded --dtype q8 --device cpu
	@# Larger than the model, and what they draw is noise.
	rm -r www/demo/models/seeded/vqgan

.PHONY: release-wasm
release-wasm: WASM_PROFILE := web-release
release-wasm: WASM_FEATURES :=
release-wasm: bindgen
	$(call wasm,cpu)
	$(call wasm,gpu)

# ---- beside what a user would pick instead ------------------------------------------------------

PEER := $(CACHE)/peer
.PHONY: peer-graphs peer-bundles bench-peer bench-dawn bench-native
peer-graphs: seeded-weights
	@test -s $(PEER)/graphs/q8/step.onnx || { \
	  $(say) 'Installing onnxruntime (PyPI) and making its graphs from the seeded weights'; \
	  $(VENV)/bin/pip install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 pillow && \
	  $(VENV)/bin/python benches/peer/graphs.py $(OFA_TINY_WEIGHTS) $(PEER)/graphs; }

peer-bundles: binary seeded-weights
	@test -s $(PEER)/bundles/q8/manifest.json || { \
	  $(say) 'Making bundles of the seeded weights'; \
	  $(VENV)/bin/python benches/peer/vocabulary.py $(PEER)/vocabulary && \
	  $(OFA) convert $(OFA_TINY_WEIGHTS) --tokenizer $(PEER)/vocabulary --arch tiny --image-size 256 --out $(PEER)/converted && \
	  for kind in f32 q8; do $(OFA) export $(PEER)/converted --out $(PEER)/bundles/$$kind --dtype $$kind --no-report; done; }

bench-peer: peer-graphs peer-bundles npm chromium ## Ours beside onnxruntime-web in one Chromium: make bench-peer [DEVICES=cpu,webgpu] [THREADS=N]
	@test -d $(PEER)/web/node_modules/onnxruntime-web || { \
	  $(say) 'Installing onnxruntime-web (npm)'; \
	  npm install --silent --no-audit --no-fund --prefix $(PEER)/web onnxruntime-web@1.30.0; }
	$(MAKE) --no-print-directory release-wasm
	cd www && npm run --silent build && node scripts/bench-peer.mjs $(PEER)/graphs \
	  $(PEER)/web/node_modules/onnxruntime-web/dist $(PEER)/bundles --devices $(or $(DEVICES),cpu,webgpu) --threads $(or $(THREADS),1)

bench-dawn: peer-graphs peer-bundles npm ## The same on WebGPU in Node, for a GPU on a machine without a browser
	@test -d $(PEER)/dawn/node_modules/webgpu || { \
	  $(say) 'Installing Dawn and onnxruntime-web (npm)'; \
	  npm install --silent --no-audit --no-fund --prefix $(PEER)/dawn webgpu@0.6.2 onnxruntime-web@1.30.0; }
	@$(VENV)/bin/python -c "import sys; from PIL import Image; open(sys.argv[2], 'wb').write(Image.open(sys.argv[1]).convert('RGBA').tobytes())" \
	  tests/golden/tiny/resized_0_256x256.png $(PEER)/picture.rgba
	$(MAKE) --no-print-directory release-wasm
	cd www && npm run --silent build && node scripts/bench-dawn.mjs $(PEER)/graphs $(PEER)/dawn/node_modules/onnxruntime-web/dist \
	  $(PEER)/bundles $(PEER)/picture.rgba $(PEER)/dawn/node_modules/webgpu

bench-native: peer-graphs peer-bundles ## Ours beside onnxruntime on the CPU, one thread and all
	cargo build --locked --release --no-default-features --features cli,cpu
	$(VENV)/bin/python benches/peer/native.py $(CARGO_TARGET_DIR)/release/ofa $(PEER)/graphs $(PEER)/bundles

bench: ## criterion: stem, encoder, steps, preprocessing, tokenizer
	cargo bench --locked
