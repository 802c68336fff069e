#!/usr/bin/env bash
# Compiles presets for devices that are absent and appends the reports to a file of JSON lines:
#   benchmarks/targets.sh OUT.jsonl "PRESET ..." "TARGET ..." [FLAG ...]
# Each is `genjax compile PRESET --target TARGET FLAG ...`; one that fails leaves the others.
# PYTHON is the interpreter, since TPUs and GPUs may need environments of their own.
set -uo pipefail
out=$(realpath "$1") presets=$2 targets=$3
cd "$(dirname "$0")/.." || exit
shift 3
status=0
for preset in $presets; do
  for target in $targets; do
    echo "== $preset on $target $*"
    "${PYTHON:-python}" -m genjax compile "$preset" --target "$target" --json "$out" "$@" || status=1
  done
done
exit $status
