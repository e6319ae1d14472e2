#!/usr/bin/env bash
# Run the input `run` as GitHub runs a step: bash, each failure the end.
set -euo pipefail
script="$(mktemp "${RUNNER_TEMP:?}/kache-run-XXXXXX")"
printf '%s\n' "${RUN:?}" >"$script"
exec bash --noprofile --norc -eo pipefail "$script"
