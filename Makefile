# Two commands do everything on a fresh machine with git, make, Node 20 and npm: `make run` and `make test`.
# `make` alone lists the targets. Node is started by path, see tools/run-node; `NODE=/path/to/node make …` names another.

# A run of fewer tests fails: raise it whenever tests come in. `make test` ends with how many ran.
test_floor := 4200

node := tools/run-node
npm_ci := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
bin := node_modules
runner := $(node) tools/test-runner/run.ts
lint_paths := src sim test bench examples tools/cluster tools/soak tools/test-runner

.DEFAULT_GOAL := help
.PHONY: help install run cluster test test-one test-debug prove-crash prove-cluster prove-host check types lint format format-check layering proto proto-check openapi openapi-check reference reference-check bench bench-peers build pack sbom signatures release clean raft-scripts prove-raft sim mutants sim-long soak

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 24

# ---- install: again only when a lockfile changed ----

own_node := tools/node/node_modules/.installed
oldest_node := tools/node24/node_modules/.installed
packages := node_modules/.installed
version = $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)

install: $(if $(NODE),,$(own_node)) $(packages) ## brings Node and the packages, so that ./bin/proglog works
	@$(node) --version >/dev/null

# npm leaves out what isn't made for this platform; tools/run-node says what then.
$(own_node) $(oldest_node): %/node_modules/.installed: %/package-lock.json
	cd $* && $(npm_ci)
	@mkdir -p $(@D) && touch $@

$(packages): package-lock.json
	$(npm_ci)
	@touch $@

# ---- run ----

run: install ## starts a node with its data in ./data, in the foreground
	@exec ./bin/proglog serve --data-dir ./data

cluster: install ## starts three nodes of one cluster on this machine, data in ./data/cluster, in the foreground
	@exec $(node) tools/cluster/run.ts

# ---- test ----

test: install $(oldest_node) ## runs the whole suite
	@$(runner) --floor $(test_floor)

test-one: install $(oldest_node) ## runs the tests of NAME='part of a title' or FILE=src/log/log.test.ts, or both
	@test -n "$$NAME$$FILE" || { echo "make test-one: name the test: NAME='part of its title', FILE=src/log/log.test.ts or both" >&2; exit 2; }
	@$(runner) --name "$$NAME" --file "$$FILE"

test-debug: install $(oldest_node) ## runs tests (NAME, FILE) with logs and no time limit; INSPECT=1 waits for a debugger
	@$(runner) --debug --name "$$NAME" --file "$$FILE" $(if $(INSPECT),--inspect)

raft-scripts: install ## writes the output of raft's text scripts anew, for review
	@REWRITE=1 $(runner) --debug --file src/raft/scripts.test.ts

prove-raft: install ## searches small raft groups and runs random ones, by the million of states: some minutes
	@PROVE=1 $(runner) --debug --file 'src/raft/{search,random-world}.test.ts'

prove-crash: install ## runs the crash, fault and kill proofs in full: takes long
	@PROVE=1 $(runner) --debug --file 'test/{crash,fault,kill}-*.test.ts'

prove-cluster: install ## ends, cuts off and moves the nodes of real clusters over and over: some minutes
	@PROVE=1 $(runner) --debug --file 'test/cluster-*.test.ts'

prove-host: install ## as root: cuts networks, fills disks and cuts power under a cluster for MINUTES=10 [SEED=123] [ONLY=power], in namespaces
	@$(node) test/host/run.ts --minutes "$$MINUTES" --seed "$$SEED" --only "$$ONLY"

soak: install ## three nodes under load, with faults in turn, for MINUTES=10; OUT=./data/soak gets figures and plots
	@$(node) tools/soak/run.ts --minutes "$${MINUTES:-10}" --out "$${OUT:-./data/soak}"

sim: install ## runs the simulated world: SEED=123 [SIZE=full|cluster] one run, MINUTES=5 fresh ones
	@$(node) --max-semi-space-size=64 sim/run.ts --seed "$$SEED" --size "$$SIZE" --minutes "$$MINUTES" $(if $(STORY),--story)

sim-long: install ## runs fresh simulated worlds for MINUTES=60 [HOURS=100 SIZE=cluster], and goes on with it next time; what fails goes to sim/seeds.txt
	@$(node) --max-semi-space-size=64 sim/run-long.ts --minutes "$${MINUTES:-60}" --hours "$$HOURS" --size "$${SIZE:-cluster}" --file "$$FILE"

mutants: install ## breaks rules on purpose, one by one, and shows that the suites notice: ONLY=M03,S01 SEEDS=300 ALL=1
	@$(node) test/mutants/run.ts --only "$$ONLY" --seeds "$${SEEDS:-300}" $(if $(ALL),--all)

# ---- check ----

check: types lint format-check layering proto-check openapi-check reference-check ## types, lint, format, layering, generated files up to date

types: install
	$(node) $(bin)/typescript/bin/tsc

lint: install
	$(node) $(bin)/oxlint/bin/oxlint --type-aware --deny-warnings $(wildcard $(lint_paths))

format-check: install
	$(node) $(bin)/@biomejs/biome/bin/biome format

layering: install
	@$(runner) --file 'test/{layering,house-rules}.test.ts'

openapi-check: install
	@$(node) test/openapi/write.ts --check

openapi: install ## writes docs/openapi.json anew, from the routes
	@$(node) test/openapi/write.ts

reference-check: install
	@$(node) test/reference/write.ts --check

reference: install ## writes docs/reference-*.md anew, from the source
	@$(node) test/reference/write.ts

format: install ## formats the sources
	$(node) $(bin)/@biomejs/biome/bin/biome format --write

# ---- proto ----

proto_tools := tools/proto/node_modules/.installed
# Its plugin is a script that looks for a "node" on the path.
buf = cd proto && PATH="$$(../$(node) -p 'path.dirname(process.execPath)'):$(CURDIR)/tools/proto/node_modules/.bin:$$PATH" buf

$(proto_tools): tools/proto/package-lock.json
	cd tools/proto && $(npm_ci)
	@touch $@

proto: install $(proto_tools) ## generates src/wire/gen from proto/
	$(buf) generate
	$(buf) generate ../test/book --template buf.gen.book.yaml

# In a folder of its own, compared with what is committed; and no change may break a client of the book's.
proto-check: install $(proto_tools)
	$(buf) lint
	$(buf) format --diff --exit-code
	$(buf) breaking --against ../test/book
	@made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && \
	  ($(buf) generate --output "$$made/out/proto") && diff -r "$$made/out/src/wire/gen" src/wire/gen && \
	  ($(buf) generate ../test/book --template buf.gen.book.yaml --output "$$made/out/proto") && diff -r "$$made/out/test/book/gen" test/book/gen || \
	  { echo "what proto/ generates is another: run make proto" >&2; exit 1; }

# ---- bench ----

# On some processors a copy takes fifteen times as long by the chance of where its buffers lie; the threshold turns that off.
bench: export GLIBC_TUNABLES := glibc.cpu.x86_rep_movsb_threshold=1000000000
bench: install ## measures; ARGS go to bench/run.ts
	@$(node) bench/run.ts $(ARGS)

peer_clients := bench/peers/node_modules/.installed
$(peer_clients): bench/peers/package-lock.json
	cd bench/peers && $(npm_ci)
	@touch $@

bench-peers: export GLIBC_TUNABLES := glibc.cpu.x86_rep_movsb_threshold=1000000000
bench-peers: install $(peer_clients) ## measures beside Redis, JetStream and Kafka: bench/peers/README.md
	@$(node) bench/run.ts $(if $(findstring --only,$(ARGS)),,--only peers-durable --only peers-default) $(ARGS)

# ---- package ----

build: install ## builds dist/
	rm -rf dist
	$(node) $(bin)/typescript/bin/tsc --project tsconfig.build.json
	chmod +x dist/cli/bin.js

pack: build ## packs proglog-<version>.tgz
	npm pack --ignore-scripts --loglevel=error

sbom: ## writes what the package is made of, as CycloneDX: proglog-<version>.cdx.json
	npm sbom --sbom-format cyclonedx --omit dev --package-lock-only --loglevel=error > proglog-$(version).cdx.json

signatures: install ## checks the registry's signatures of what is installed
	npm audit signatures --loglevel=error

release: check test signatures pack sbom ## everything that goes into a release, with SHA256SUMS (docs/releasing.md)
	sha256sum proglog-$(version).tgz proglog-$(version).cdx.json > SHA256SUMS

clean: ## removes what was installed and built, but not ./data
	rm -rf dist node_modules tools/*/node_modules bench/peers/node_modules proglog-*.tgz proglog-*.cdx.json SHA256SUMS
