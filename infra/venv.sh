# Sourced by examples/demo.sh and tests/run.sh: makes .venv beside the README, installs headwater[$extra] into it once
# for each state of pyproject.toml, and puts it first on the PATH. Needs nothing but a Python of 3.11 or newer.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${HEADWATER_VENV:-$root/.venv}

find_python() {
  local name
  for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
    if command -v "$name" >/dev/null 2>&1 &&
      "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
  echo "headwater: no Python of 3.11 or newer found; name one with PYTHON=/path/to/python" >&2
  return 4
}

install_headwater() {
  local extra=$1 stamp want
  stamp=$venv/installed-$extra
  if [ ! -x "$venv/bin/python" ]; then
    "$(find_python)" -m venv "$venv" || return
  fi
  want=$(cksum "$root/pyproject.toml")
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ] && [ "$(cat "$venv/installed-dev" 2>/dev/null)" != "$want" ]; then
    echo "installing headwater[$extra] into $venv (once)" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extra]" || return
    printf '%s\n' "$want" >"$stamp"
  fi
}

install_headwater "$extra" || exit
PATH=$venv/bin:$PATH
