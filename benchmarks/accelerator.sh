#!/usr/bin/env bash
# Measures an accelerator in nine minutes, what is worth most first:
#
#   OUT=results benchmarks/accelerator.sh
#
# The step, PyTorch's beside it, the whole loop, several seeds in one program, and memory at large
# batches. Each part may take its share of the time that is left, and one that fails or hangs costs
# no other: what it had measured until then is kept. Ends with status 1 if one did.
#
#   OUT     folder: a file of JSON lines of each part, log.txt with all that was printed, results.md
#   WHEELS  folder of wheels to install first, for machines that reach no registry
#   TOTAL   seconds, 540 by default, of which the last 15 are for the report
#   QUICK   1 tries each part with small presets, for a look on a CPU
#   PYTHON  python3 by default

set -u
: "${OUT:?name the folder to write into: OUT=results $0}"
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit
WHEELS=${WHEELS:+$(cd "$WHEELS" && pwd)}
PYTHON=${PYTHON:-python3}
deadline=$((SECONDS + ${TOTAL:-540} - 15))
log=$OUT/log.txt
cd "$(dirname "$0")/.." || exit

if [ -n "$WHEELS" ]; then
  site=$(mktemp -d)
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" \
    "$WHEELS"/*.whl || exit
  export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONUNBUFFERED=1

failed=()
left=100

# part SHARE NAME MODULE ARGUMENT...: shares are of 100, in the order of the parts.
part() {
  local share=$1 name=$2 limit=$(((deadline - SECONDS) * $1 / left)) start=$SECONDS status
  left=$((left - share))
  shift 2
  echo "== $name: $* (at most $limit s)" | tee -a "$log"
  # A limit of 0 would be none.
  timeout -k 3 "$((limit > 0 ? limit : 1))" \
    "$PYTHON" -m "$@" --json "$OUT/$name.jsonl" >>"$log" 2>&1 </dev/null
  status=$?
  echo "-- $name: status $status after $((SECONDS - start)) s" | tee -a "$log"
  [ "$status" -eq 0 ] || failed+=("$name")
}

if [ "${QUICK:-}" = 1 ]; then
  part 20 steps benchmarks.adversarial_step dcgan-digits --repeats 2
  part 40 peers benchmarks.peers.compare dcgan-digits --modes eager --repeats 2
  part 20 loop benchmarks.loop dcgan-digits --shrink 25 --repeats 1
  part 10 seeds benchmarks.seeds gaussians-25 --seeds 2 --repeats 2
  part 10 memory benchmarks.adversarial_step dcgan-digits --batch 256 --repeats 2
else
  # Of the modes of PyTorch, those that are fastest on GPUs.
  graphs=("cuda graph channels_last" "compile cuda graph channels_last")
  part 32 steps benchmarks.adversarial_step dcgan-fashion dcgan-cifar10 sngan-cifar10 \
    --dtype float32 bfloat16 --steps-per-call 1 16
  part 14 peers benchmarks.peers.compare dcgan-fashion --modes "${graphs[@]}"
  part 14 peers benchmarks.peers.compare dcgan-cifar10 --modes "${graphs[@]}"
  part 5 loop benchmarks.loop dcgan-digits
  part 7 loop benchmarks.loop dcgan-fashion
  part 8 seeds benchmarks.seeds gaussians-25 dcgan-digits --seeds 8
  part 8 memory benchmarks.adversarial_step dcgan-fashion dcgan-cifar10 --batch 512 2048 \
    --dtype float32 bfloat16 --repeats 5
  part 12 peers benchmarks.peers.compare sngan-cifar10 --modes "${graphs[@]}"
fi

shopt -s nullglob
measured=("$OUT"/*.jsonl)
if [ ${#measured[@]} -gt 0 ]; then
  timeout -k 3 60 "$PYTHON" -m benchmarks.report "${measured[@]}" --out "$OUT/results.md" \
    >>"$log" 2>&1 || failed+=(report)
fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "not whole: ${failed[*]}; $log says why" >&2
  exit 1
fi
