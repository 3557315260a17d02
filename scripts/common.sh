# Shared by the scripts of this folder: where the project is, how to speak, which build profile to use.
# Sourced, not run.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Read by the scripts that source this file.
# shellcheck disable=SC2034
VENV=$ROOT/.cache/venv
# shellcheck disable=SC2034
TOOLS=$ROOT/.cache/bin
cd "$ROOT"

# Where rustup puts programs, Debian its servers and scripts/setup the rest: not on everybody's PATH.
export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/local/sbin:/usr/sbin:$TOOLS

# Optimised like a release, but with debug assertions and without the minutes of a fat LTO link. It has a
# folder of its own (target/checked), so that it never replaces a binary that is being measured.
# shellcheck disable=SC2034
CHECKED=(
  --config 'profile.checked.inherits="release"'
  --config 'profile.checked.lto=false'
  --config 'profile.checked.codegen-units=16'
  --config 'profile.checked.debug-assertions=true'
  --config 'profile.checked.overflow-checks=true'
  --profile checked
)

# A section that can't run here leaves with this status (EX_TEMPFAIL of sysexits.h).
# shellcheck disable=SC2034
SKIPPED=75

have() { command -v "$1" >/dev/null 2>&1; }

in_ci() { [[ ${CI:-} == true ]]; }

say() { printf '%s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Something that the tests need is missing: loud on a laptop, an error in CI.
missing() {
  if in_ci; then
    die "$* (CI=true: nothing may be missing)"
  fi
  printf '\n!!! %s\n!!! What needs it is SKIPPED.\n\n' "$*" >&2
}
