#!/usr/bin/env bash
# Style, types and all tests on a fresh machine: tests/run.sh [pytest's arguments].
set -euo pipefail
cd "$(dirname "$0")/.."
extra=dev
. infra/venv.sh
ruff check .
ruff format --check .
mypy
# In two processes, since most of it waits for servers; a file is one process's, and their order stays.
exec pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
