# make demo     simulate a small program and calibrate it, with pictures
# make report   what a run made, as one HTML page: make report RESULTS=folder (default: that of the demo)
# make test     all tests, a parity subset against the peer included
# make parity   all tests against the peer, and the others that take minutes
# make lint     style and workflow checks
# make test-slurm   the workflow on a real Slurm of one node (as root; installs Debian's packages)
# Everything is installed into .venv (and .venv-peer) from envs/.

PYTHON ?= python3
CORES ?= all
JOBS ?= 2
RESULTS ?= demo/results
export RESULTS
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.PHONY: demo report test test-slurm parity lint signatures peer envs clean

demo: .venv/kernels
	$(BIN)/python -m jwcal.simulate demo demo
	$(SNAKEMAKE) --configfile config/demo.yaml
	$(BIN)/python -m jwcal.report.preview demo/results
	$(BIN)/python -m jwcal.report demo/results
	@echo "The products are in demo/results, pictures of them in demo/results/previews, and a page on the run is demo/results/report.html."

report: .venv/ready
	$(BIN)/python -m jwcal.report -- "$$RESULTS"

test: .venv/kernels .venv-peer/ready lint
	$(BIN)/python -m jwcal.warm_up --all
	$(BIN)/python -m pytest -m "not full and not slurm" -n $(JOBS) --dist loadfile --durations=10 $(ARGS)

test-slurm: .venv/kernels
	$(BIN)/python -m pytest -m slurm tests/workflow/test_slurm.py $(ARGS)

parity: .venv/kernels .venv-peer/ready
	$(BIN)/python -m jwcal.warm_up --all
	$(BIN)/python -m pytest -m "parity or full" -n $(JOBS) --dist loadfile $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check scripts tests benchmarks
	$(BIN)/ruff format --check scripts tests benchmarks
	$(BIN)/snakefmt --check Snakefile rules

# what the kernels are called with, after one was added or its arguments have changed: takes minutes
signatures: .venv/ready
	$(BIN)/python tests/small_exposures.py

peer: .venv-peer/ready

# The project's own environment; the .pth file makes `import jwcal` find this checkout.
.venv/ready: envs/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("jwcal needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.txt
	echo "$(CURDIR)/scripts" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/jwcal.pth"
	touch $@

# The kernels that the demo needs are compiled here, and kept outside the checkout. Other runs compile what they need before their first job.
.venv/kernels: .venv/ready $(wildcard scripts/jwcal/kernels/*.py scripts/jwcal/kernels/*/*.py scripts/jwcal/kernels/*.json)
	$(BIN)/python -m jwcal.warm_up
	touch $@

.venv-peer/ready: envs/peer.txt
	$(PYTHON) -m venv .venv-peer
	.venv-peer/bin/python -m pip install --quiet --disable-pip-version-check -r envs/peer.txt
	touch $@

# envs/jwcal.yaml from envs/requirements.txt
envs:
	{ sed -n '1,/- pip:/p' envs/jwcal.yaml; sed -e '/^#/d' -e 's/^/      - /' envs/requirements.txt; } > envs/jwcal.yaml.new
	mv envs/jwcal.yaml.new envs/jwcal.yaml

clean:
	rm -rf demo .snakemake scripts/jwcal/kernels/__pycache__ .venv/kernels
