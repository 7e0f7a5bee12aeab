# make demo     simulate a small program and calibrate it, with pictures
# make tour     modes of all instruments in one program, one run and one page
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
PY := .venv/bin/python

.PHONY: demo tour report test test-slurm parity lint signatures notebook peer envs clean

demo: .venv/kernels
	@echo 'Simulating the program and its references'
	$(PY) -m jwcal.simulate demo demo
	@echo 'Calibrating it'
	$(PY) -m snakemake --cores $(CORES) --configfile config/demo.yaml
	@echo 'Drawing the products, and the page on the run'
	$(PY) -m jwcal.report.preview demo/results
	$(PY) -m jwcal.report demo/results
	@echo "The products are in demo/results, pictures of them in demo/results/previews, and a page on the run is demo/results/report.html."

tour: .venv/kernels
	@echo 'Simulating the modes and their references'
	$(PY) -m jwcal.simulate tour tour
	@echo 'Calibrating them'
	$(PY) -m snakemake --cores $(CORES) --configfile tour/config.yaml
	@echo 'Writing the page on the run'
	$(PY) -m jwcal.report tour/results
	@echo "The products are in tour/results, and a page on the run is tour/results/report.html."

report: .venv/ready
	$(PY) -m jwcal.report -- "$$RESULTS"

test: .venv/kernels .venv-peer/ready lint
	$(PY) -m jwcal.warm_up --all
	$(PY) -m pytest -m "not full and not slurm" -n $(JOBS) --dist loadfile --durations=10 $(ARGS)

test-slurm: .venv/kernels
	$(PY) -m pytest -m slurm tests/workflow/test_slurm.py $(ARGS)

parity: .venv/kernels .venv-peer/ready
	$(PY) -m jwcal.warm_up --all
	$(PY) -m pytest -m "parity or full" -n $(JOBS) --dist loadfile $(ARGS)

lint: .venv/ready
	$(PY) -m ruff check scripts tests benchmarks
	$(PY) -m ruff format --check scripts tests benchmarks
	$(PY) -m snakefmt --check Snakefile rules

# what the kernels are called with, after one was added or its arguments have changed: takes minutes
signatures: .venv/ready
	$(PY) tests/small_exposures.py

# docs/notebook, made by running its cells
notebook: .venv/ready
	$(PY) scripts/notebook_page.py docs/notebook

peer: .venv-peer/ready

# The project's own environment: the checkout's package is found in it, wherever both are moved.
.venv/ready: envs/requirements.txt scripts/environment.py
	$(PYTHON) scripts/environment.py .venv envs/requirements.txt --own
	touch $@

# The kernels that the demo needs are compiled here, and kept outside the checkout. Other runs compile what they need before their first job.
.venv/kernels: .venv/ready $(wildcard scripts/jwcal/kernels/*.py scripts/jwcal/kernels/*/*.py scripts/jwcal/kernels/*.json)
	@echo 'Compiling the kernels that the demo needs, once'
	$(PY) -m jwcal.warm_up
	touch $@

.venv-peer/ready: envs/peer.txt scripts/environment.py
	$(PYTHON) scripts/environment.py .venv-peer envs/peer.txt
	touch $@

# envs/jwcal.yaml from envs/requirements.txt
envs:
	{ sed -n '1,/- pip:/p' envs/jwcal.yaml; sed -e '/^#/d' -e 's/^/      - /' envs/requirements.txt; } > envs/jwcal.yaml.new
	mv envs/jwcal.yaml.new envs/jwcal.yaml

clean:
	rm -rf demo tour .snakemake scripts/jwcal/kernels/__pycache__ .venv/kernels
