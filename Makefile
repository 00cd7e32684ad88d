# Every target sets up .venv by itself: nothing but Python (3.11 or newer) and make is needed.
PYTHON ?= python3
EXTRA ?= cpu
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
RECIPE ?= jobs/recipes/demo.yaml

# pip's own configuration may name a folder of wheels (torch for the CPU is not on PyPI); uv does not read it.
FIND_LINKS = $(or $(PIP_FIND_LINKS),$(shell $(BIN)/python -m pip config get global.find-links 2>/dev/null))
TORCH_WHEEL = $(wildcard $(addsuffix /torch-*+cpu-*.whl,$(FIND_LINKS)))
# Without such a folder the CPU build comes from PyTorch's own index.
ifeq ($(EXTRA),cpu)
UV_FLAGS = --overrides overrides-cpu.txt $(if $(TORCH_WHEEL),,--torch-backend cpu)
endif

# The pins are those of the CPU builds; of these two the GPU builds ask for other versions, and say which.
UNPINNED = $(if $(filter gpu,$(EXTRA)),^apache-tvm-ffi==\|^triton==,^$$)

N ?= 30
SEED ?= 1

.PHONY: demo test faults kills bench setup check pins clean

demo: setup
	@$(BIN)/python -m jobs.run $(RECIPE)

test: setup check
	@$(BIN)/python -m pytest -m "not gpu and not ray and not vllm" -n 2 --dist loadfile $(PYTEST)
	@$(BIN)/python -m pytest -m "beside and not (gpu or vllm)" -n 2 --dist worksteal $(PYTEST)
	@$(BIN)/python -m pytest -m "not gpu and (vllm or ray and not beside)" $(PYTEST)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy

faults: setup
	@$(BIN)/python -m pytest tests/test_faults.py -k "kills_lose_only or engine" --kills $(N) --seed $(SEED) --timeout 0 -s

kills: setup
	@$(BIN)/python -m pytest tests/test_kill_matrix.py --matrix --seed $(SEED) --timeout 0 -s

bench: setup
	@$(BIN)/python -m jobs.bench

setup: $(VENV)/.ready-$(EXTRA)

$(VENV)/.ready-$(EXTRA): pyproject.toml constraints.txt overrides-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || { echo "setting up $(VENV) (once, a few minutes on a slow line)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check "uv==0.13.9"
	@grep -v '$(UNPINNED)' constraints.txt > $(VENV)/constraints.txt
	@UV_FIND_LINKS="$(FIND_LINKS)" $(UV) pip install -q --compile-bytecode --python $(BIN)/python -r pyproject.toml --extra $(EXTRA) --extra dev \
		--constraints $(VENV)/constraints.txt $(UV_FLAGS)
	@touch $@

pins: setup
	@UV_FIND_LINKS="$(FIND_LINKS)" $(UV) pip compile -q pyproject.toml --extra cpu --extra dev $(UV_FLAGS) \
		--no-annotate --no-header --upgrade -o .pins
	@{ echo "# The exact versions that Longthought is tested with, made with: make pins"; sed 's/+cpu$$//' .pins; } > constraints.txt
	@rm .pins

clean:
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
