#!/usr/bin/env bash
# Train the model in the box, from nothing but the collection: manifests, training, equipment, numbers.
#
#   bash runs/train_shipped.sh DATA [OUT]
#
# DATA holds chest_xray/ (Kermany V2 as Kaggle lays it out; train/ and val/ are enough) and adults/
# (radiographs of another population, for the population check). OUT, runs/shipped by default, gets
# the run and, as OUT/bundle, what is copied to src/pneumoscope/weights. A run that was interrupted
# goes on where it stood. It takes about an hour and a half on 2 cores with bf16 (docs/experiments.md).
#
# SMOKE=1 takes one image in twenty and small pictures: minutes instead of hours, for a test.
set -euo pipefail

data=${1:?"Usage: bash runs/train_shipped.sh DATA [OUT]"}
out=${2:-runs/shipped}
here=$(cd "$(dirname "$0")/.." && pwd)
scripts=$here/scripts/shipped
settings=()
if [ -n "${SMOKE:-}" ]; then
  settings=(--set preprocessing.size=64 --set trained.resolutions=[] --epochs 1)
fi

python "$scripts/make_parts.py" "$data/chest_xray" "$out/parts" --adults "$data/adults" \
  ${SMOKE:+--every 20}

run=$out/paediatric-resnet50  # the model is called like its run
if [ -f "$run/config.yaml" ] && [ ! -f "$run/report.html" ]; then
  pneumoscope train --out "$run" --resume
elif [ ! -f "$run/report.html" ]; then
  pneumoscope train "$out/parts/all.csv" --recipe "$scripts/recipe.yaml" --weights none --out "$run" \
    "${settings[@]}"
fi

rm -rf "$out/bundle"  # made anew, from the run, which is kept
pneumoscope bundle equip "$run/bundle" "$run/manifest.parquet" --out "$out/bundle" \
  --outside "$out/parts/adults.csv" --card "$scripts/card.yaml"
pneumoscope bundle verify "$out/bundle"
pneumoscope bundle show "$out/bundle"
echo "Equipped: $out/bundle. To ship it: cp $out/bundle/* src/pneumoscope/weights/"
