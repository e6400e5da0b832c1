#!/usr/bin/env bash
# Half an hour on a machine with a GPU that is reached by single commands, with little room each way (README.md).
#
# here:  gpu.sh pack <data> <mobilenet weights> <k>   what call k carries, in .gpu/; says how many calls there are
# there: gpu.sh stage                                 keeps what was carried beyond the call
#        gpu.sh start [seconds]                       trains in the background; waits, then shows how far it is
#        gpu.sh watch [seconds]                       waits, then shows
#        gpu.sh collect <folder>                      the results, in pieces that fit
# here:  gpu.sh unpack <folder> <run>                 pieces -> <run>/resnet and <run>/universal, ready for export
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
THERE=${THERE:-${TMPDIR:-/tmp}/raccoon}           # the working folder, outside of what a call brings and takes
CARRY=${CARRY:-42000000} PIECE=${PIECE:-15m} # bytes that a call brings, and largest file that comes back
# what the two runs are made of; smaller for a trial on a CPU
CLASSIFIER=${CLASSIFIER:---epochs 60 --batch 128 --lr 0.2 --size 192 --gamma 0.5 --workers 14}
UNIVERSAL=${UNIVERSAL:---head-start 20 --epochs 100 --batch 128 --reuse 1 --ema 0.999}

pack() {
  local data=$1 weights=$2 k=$3 whole="$THERE/pack.tar" count
  mkdir -p "$THERE"
  if [ ! -e "$whole" ]; then
    (cd "$data" && tar -cf "$whole" -- train-*.tar classes.json $(ls -d val-*.tar 2>/dev/null))
    tar -rf "$whole" -C "$(dirname "$weights")" "$(basename "$weights")"
  fi
  count=$((($(stat -c %s "$whole") + CARRY - 1) / CARRY))
  [ "$k" -lt "$count" ] || { echo "gpu.sh: there are $count calls, 0 to $((count - 1))" >&2 && exit 1; }
  rm -rf .gpu && mkdir .gpu
  dd if="$whole" of=".gpu/piece.$k-of-$count" bs=1M iflag=skip_bytes,count_bytes \
    skip=$((k * CARRY)) count="$CARRY" status=none
  # the one package that such a machine may lack
  "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --dest .gpu "$(grep tensorboardX requirements.txt)"
  ls -l .gpu
}

stage() {
  mkdir -p "$THERE/site"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --upgrade \
    --target "$THERE/site" .gpu/*.whl
  cp .gpu/piece.* "$THERE/"
  ls -l "$THERE"
}

train() {
  export PYTHONPATH="$THERE/site:$PWD"
  local data="$THERE/data" weights count
  count=$(ls "$THERE"/piece.* | sed 's/.*-of-//' | sort -u)
  [ "$(ls "$THERE"/piece.* | wc -l)" = "$count" ] || { echo "gpu.sh: not all of $count pieces are here" >&2 && exit 1; }
  mkdir -p "$data" && for k in $(seq 0 $((count - 1))); do cat "$THERE/piece.$k-of-$count"; done | tar -x -C "$data"
  weights=$(ls "$data"/*.safetensors)
  # shellcheck disable=SC2086
  "$PYTHON" -m raccoon_training train-classifier --data "$data" --classes "$data/classes.json" --teacher "$weights" \
    --run "$THERE/resnet" $CLASSIFIER
  # shellcheck disable=SC2086
  "$PYTHON" -m raccoon_training train --data "$data" --classes "$data/classes.json" --run "$THERE/universal" \
    --weights "$THERE/resnet/weights.safetensors" $UNIVERSAL
}

watch() {
  local end=$((SECONDS + ${1:-0}))
  while [ $SECONDS -lt $end ] && kill -0 "$(cat "$THERE/pid")" 2>/dev/null; do sleep 1; done
  tail -c 2000 "$THERE/log" | tr '\r' '\n' | tail -5
  tail -qn 1 "$THERE"/*/log.csv 2>/dev/null || true
}

start() {
  # a session of its own: it runs on when this command returns
  setsid bash "scripts/$(basename "$0")" train >"$THERE/log" 2>&1 </dev/null &
  echo $! >"$THERE/pid"
  watch "${1:-0}"
}

# the averaged weights and where they come from: all that an export needs, and a fraction of what a resumed run does.
# Large tensors as float16: an export rounds them to that in any case
collect() {
  export PYTHONPATH="$THERE/site:$PWD"
  mkdir -p "$1" && rm -rf "$THERE/out" && mkdir -p "$THERE/out/universal" "$THERE/out/resnet"
  "$PYTHON" - "$THERE" <<'PYTHON'
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def smaller(state):
    return {name: w.half() if w.is_floating_point() and w.numel() > 10_000 else w for name, w in state.items()}


there = Path(sys.argv[1])
saved = torch.load(there / "universal" / "last.pt", map_location="cpu", weights_only=True)
kept = {name: value for name, value in saved.items() if name not in ("model", "optimiser", "generator")}
torch.save(kept | {"average": smaller(saved["average"])}, there / "out" / "universal" / "last.pt")
weights = there / "resnet" / "weights.safetensors"
with safe_open(weights, "pt") as file:
    metadata = file.metadata()
save_file(smaller(load_file(weights)), there / "out" / "resnet" / "weights.safetensors", metadata)
PYTHON
  cp "$THERE/log" "$THERE/out/"
  for log in resnet/log.csv universal/log.csv universal/points.csv; do # none before step 50
    [ ! -e "$THERE/$log" ] || cp "$THERE/$log" "$THERE/out/$log"
  done
  tar -cz -C "$THERE/out" . | split -b "$PIECE" -d - "$1/results.tgz."
  ls -l "$1"
}

unpack() {
  mkdir -p "$2"
  cat "$1"/results.tgz.* | tar -xz -C "$2"
  ls -l "$2"/*
}

"$@"
