# `make search` sets up and runs the main job; `make test` sets up and runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: search test quick lint peers clean

search: $(INSTALLED)
	$(BIN)/edgenas $(ARGS)

test: export OPENBLAS_NUM_THREADS = 1 # several processes already share the cores
test: $(INSTALLED) # in as many processes as there are cores, four at the most; tests of a file stay together
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadgroup $(ARGS)

quick: $(INSTALLED) # the tests that take no more than some seconds
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

# PyTorch and `ofa`, which benchmarks and some tests compare ours with. Beside PyPI, TORCH_INDEX has the builds for CPUs;
# with those of PyPI (TORCH_INDEX=) all is well too, and some gigabytes larger.
peers: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --no-deps 'torchvision==0.28.0' 'ofa==0.1.0.post202307202001'

# Made anew when what is to be installed changes, and only then.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "edgenas needs Python 3.11 or newer, but $(PYTHON) is older; name another: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
