#!/usr/bin/env bash
# What each choice of a protocol is worth: the same training under three splits, three seeds each.
#
#   bash runs/evidence.sh DATA [OUT]
#
# DATA is the collection (Kermany V2 as Kaggle lays it out). OUT, runs/evidence by default, gets the
# splits, a run of `robust` from nothing at 128 pixels and one of `classic` from a backbone that was
# pretrained without labels on that split's train part only, and the table of docs/evidence.md. A run
# that was interrupted goes on where it stood. 18 runs and 9 pretrainings: hours on 2 cores.
set -euo pipefail

data=${1:?"Usage: bash runs/evidence.sh DATA [OUT]"}
out=${2:-runs/evidence}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"

train() {  # train RUN ARGUMENTS...: start it, or go on with it
  local run=$1
  shift
  if [ -f "$run/report.html" ]; then return; fi
  if [ -f "$run/config.yaml" ]; then
    pneumoscope train --out "$run" --resume
  else
    pneumoscope train "$@" --out "$run"
  fi
}

for seed in 0 1 2; do
  for group in image patient block; do
    name=$group-$seed
    split=$out/$name.csv
    allow=() seen=()
    if [ "$group" = image ]; then  # the widespread way, to be shown: a copy or two straddles it
      allow=(--allow-leakage) seen=(--allow-contamination)
    fi
    if [ ! -f "$split" ]; then
      pneumoscope data split "$data" --group "$group" --seed "$seed" --out "$split"
    fi
    train "$out/robust-$name" "$split" --recipe robust --weights none --seed "$seed" \
      --set preprocessing.size=128 --set trained.epochs=12 \
      --set 'trained.resolutions=[[96,0.5],[128,0.5]]' "${allow[@]}"
    backbone=$out/backbone-$name
    if [ ! -f "$backbone/backbone.safetensors" ]; then
      resume=()
      if [ -f "$backbone/pretraining.json" ]; then resume=(--resume); fi
      pneumoscope pretrain "$split" --size 64 --epochs 12 --seed "$seed" --out "$backbone" "${resume[@]}"
    fi
    train "$out/classic-$name" "$split" --recipe classic --seed "$seed" \
      --weights "$backbone/backbone.safetensors" --set preprocessing.size=128 "${allow[@]}" "${seen[@]}"
  done
done
python "$here/scripts/evidence/summarise_protocols.py" "$out" --outcomes "$out/protocols.csv"
