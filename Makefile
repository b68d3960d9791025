# Two commands for users: `make demo` and `make test`. Both do all the set-up they need.
PYTHON ?= python3
DEV := .venv-dev/bin

# A file's tests run in one process, so that its fixtures are made once; one thread each leaves the other core alone.
TEST := OMP_NUM_THREADS=1 $(DEV)/python -m pytest -p xdist --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: demo test test-slow smoke lint type wheel dev clean

demo: .venv/installed
	.venv/bin/python examples/demo.py

test: .venv-dev/installed
	$(TEST) -m 'not slow'

# Exit status 5: no test is marked slow.
test-slow: .venv-dev/installed
	$(TEST) -m slow || [ $$? -eq 5 ]

# The whole way from a teacher in the layout of jina-embeddings-v4 to a search, on random weights; about a minute.
smoke: .venv-dev/installed
	$(DEV)/python -m unbraid.distill.smoke_data .smoke/data
	$(DEV)/unbraid train distill smoke --data .smoke/data --run .smoke/run --out .smoke/bundle
	$(DEV)/unbraid index docs --into .smoke/index --model .smoke/bundle
	$(DEV)/unbraid search "base space" --in .smoke/index --model .smoke/bundle

lint: .venv-dev/installed
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .

type: .venv-dev/installed
	$(DEV)/mypy

# The wheel holds the tracked files and works outside the checkout.
wheel:
	PYTHON=$(PYTHON) .ci/check-wheel

dev: .venv-dev/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -e .
	touch $@

# constraints.txt keeps torch and torchvision to a pair that fits; torch alone would be replaced by another build.
.venv-dev/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv .venv-dev .demo-index .smoke build dist *.egg-info
