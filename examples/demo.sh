#!/usr/bin/env bash
# The main job on a fresh machine: examples/demo.sh [--flights N | --all] [--rate R] … (see `headwater demo --help`).
set -euo pipefail
cd "$(dirname "$0")/.."
extra=demo
. infra/venv.sh
exec headwater demo "$@"
