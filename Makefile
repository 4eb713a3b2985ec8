PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup study lint test test-all bench faults docs weights

setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Less training and fewer images than the command's defaults: 11 minutes on two cores. The fit is the same.
study: setup
	$(BIN)/precortical study luminance --epochs 12 --test 250 --simulated-train 400 --simulated-test 120 --out out/luminance

bench: setup
	$(BIN)/python -m benchmarks --out bench.json

# Stopped commands, full disks and damaged files, 20 of each kind; the same command continues. Linux only.
faults: setup
	$(BIN)/python -m benchmarks.faults --out out/faults

# The front ends that ship: with all 64 V1 cell types, and with 16 that spike.
weights: setup
	$(BIN)/precortical fit --preset macaque_parafovea --kinds 64 --out out/weights/macaque_parafovea
	$(BIN)/precortical fit --preset macaque_fovea --kinds 64 --out out/weights/macaque_fovea
	$(BIN)/precortical fit --fidelity spiking --trials 12 --kinds 16 --out out/weights/macaque_parafovea_spiking
	cp out/weights/macaque_parafovea/front_end.safetensors bridge/weights/macaque_parafovea_rate.safetensors
	cp out/weights/macaque_fovea/front_end.safetensors bridge/weights/macaque_fovea_rate.safetensors
	cp out/weights/macaque_parafovea_spiking/front_end.safetensors bridge/weights/macaque_parafovea_spiking.safetensors

docs: setup
	$(BIN)/python docs/tables.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# 17 minutes on two cores from an empty cache; what is left out, and why: tests/README.md.
test: lint
	$(BIN)/python -m pytest -n auto -m "not all"

test-all: lint
	$(BIN)/python -m pytest -n auto
