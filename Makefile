# Thin over scripts/: the same words as everywhere. Each target sets up the virtual environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UNIT_TESTS := tests/accounting tests/admission tests/auth tests/config tests/demo tests/sessions tests/telemetry tests/workflow \
	tests/llm/filters tests/llm/pool tests/llm/providers tests/llm/reading

.PHONY: run demo worker local eval-local test test-fast test-slow test-browser test-agents test-mlx test-ray test-lowest test-wheel \
	test-deploy sbom check format bench screenshots prom compose-up dashboard clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) scripts/venv.py $(VENV)

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) scripts/venv.py $(VENV) dev

run: $(VENV)/.installed      ## serve your configuration
	$(BIN)/chorus serve

demo: $(VENV)/.installed     ## serve the demo models: no key, no network
	$(BIN)/chorus demo

worker: $(VENV)/.installed   ## serve one model to gateways: make worker ARGS="--model model.gguf --name glm"
	$(BIN)/chorus worker $(ARGS)

local: $(VENV)/.installed    ## a real model of 240 MB on this machine: two workers, a gateway, a workflow
	exec $(BIN)/python scripts/local.py

eval-local: $(VENV)/.installed ## whether a workflow over that model is worth its calls
	$(BIN)/python scripts/local.py eval

test: $(VENV)/.installed-dev ## the test suite, but for what has a target of its own
	$(BIN)/python -m tests.kit.programs
	$(BIN)/python -m tests.clients.environments
	$(BIN)/python -m pytest --forks auto -m "not agents and not mlx and not ray and not very_slow" --ignore tests/browser

test-fast: $(VENV)/.installed-dev ## the unit tests only, in half a minute
	$(BIN)/python -m pytest --forks auto -m "not slow" --hypothesis-profile fast $(UNIT_TESTS)

test-slow: $(VENV)/.installed-dev ## what takes ten seconds of CPU or more, and all cells of the matrix of providers
	$(BIN)/python -m tests.clients.environments slow
	$(BIN)/python -m pytest -n auto --dist load -m very_slow --ignore tests/browser --ignore tests/deploy
	$(BIN)/python -m tests.kit.programs
	$(BIN)/python -m pytest -m very_slow tests/deploy

test-browser: $(VENV)/.installed-dev ## the page in Chromium: every screen, its policy, what axe-core has against it
	$(BIN)/python -m tests.kit.programs
	$(BIN)/python -m tests.clients.environments browser
	$(BIN)/python -m pytest -n auto --dist loadfile tests/browser

test-agents: $(VENV)/.installed-dev ## coding agents and agent libraries as they come, each at one task (2 GB to install)
	$(BIN)/python -m tests.clients.environments agents
	$(BIN)/python -m pytest -n auto --dist loadfile -m agents tests/clients/agents

test-mlx: $(VENV)/.installed-dev ## the engine mlx-lm of inference workers (350 MB to install)
	$(BIN)/python -m tests.clients.environments mlx
	$(BIN)/python -m pytest -m mlx tests/inference

test-ray: $(VENV)/.installed-dev ## Chorus as an application of Ray Serve (485 MB to install)
	$(BIN)/python -m tests.clients.environments ray
	$(BIN)/python -m pytest -m ray tests/deploy/test_ray.py

test-lowest: $(VENV)/.installed-dev ## the oldest versions of dependencies that pyproject.toml allows
	$(BIN)/python scripts/lowest.py .venv-lowest
	.venv-lowest/bin/python -m pytest -n auto --dist loadfile -m "not very_slow" $(UNIT_TESTS) tests/contract tests/golden tests/llm tests/server tests/storage

test-wheel: $(VENV)/.installed-dev ## the built wheel in an empty environment, alone and with each extra; one only: make test-wheel ARGS=mlx
	scripts/test_wheel.sh $(BIN)/python $(ARGS)

sbom: $(VENV)/.installed-dev ## dist/chorus-llm-VERSION.cdx.json: what the wheel brings along, as CycloneDX
	$(BIN)/python -m scripts.sbom

test-deploy: $(VENV)/.installed-dev ## the files of deploy/ by the tools that read them, and the compose file's commands
	$(BIN)/python -m tests.kit.programs
	$(BIN)/python -m tests.clients.environments deploy
	$(BIN)/python -m pytest --forks auto -m "not ray" tests/deploy

check: $(VENV)/.installed-dev ## format, lint, lines of prose, types, floors
	scripts/check $(BIN)

format: $(VENV)/.installed-dev
	$(BIN)/python -m scripts.prose --fix ; $(BIN)/ruff check --fix-only -q . ; $(BIN)/ruff format -q .

bench: $(VENV)/.installed-dev ## every benchmark, each with its ratio
	scripts/bench $(BIN)

screenshots: $(VENV)/.installed-dev ## the pictures of the page in docs/images, after fifteen minutes of requests
	$(BIN)/python -m tests.kit.programs
	$(BIN)/python -m scripts.screenshots

prom:                        ## Prometheus at port 9090 with our rules, beside a gateway and a worker on this machine
	mkdir -p .local/prometheus
	exec prometheus --config.file=deploy/prometheus/prometheus.yml --storage.tsdb.path=.local/prometheus \
		--web.listen-address=127.0.0.1:9090

compose-up:                  ## gateways, workers, Redis, Consul, Prometheus and Grafana in Docker (deploy/compose/README.md)
	docker compose -f deploy/compose/compose.yaml up --build --wait

dashboard: $(VENV)/.installed-dev ## deploy/grafana, made of the metrics' own names
	$(BIN)/python scripts/dashboard.py

clean:
	rm -rf $(VENV) .venv-lowest .clients .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
