#!/usr/bin/env bash
# The whole story on a small data set: data, split, two stages of training, report, prediction.
# Called by `make demo`; needs `pneumoscope` on the PATH. With PNEUMOSCOPE_DATA set to a folder in
# Kaggle's layout it takes a part of that, otherwise it draws phantoms.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT="${DEMO_OUT:-demo}"
IMAGES="${DEMO_IMAGES:-600}"
say() { printf '\n== %s\n' "$*"; }

if [ -n "${PNEUMOSCOPE_DATA:-}" ] && [ ! -d "$PNEUMOSCOPE_DATA" ]; then
  echo "PNEUMOSCOPE_DATA names no folder: $PNEUMOSCOPE_DATA" >&2
  exit 2
fi
if [ -e "$OUT" ] && [ ! -e "$OUT/.demo" ]; then
  echo "$OUT is there already and no earlier demo: remove it, or set DEMO_OUT to a new folder." >&2
  exit 2
fi
rm -rf "$OUT"
mkdir -p "$OUT"
touch "$OUT/.demo"

if [ -n "${PNEUMOSCOPE_DATA:-}" ]; then
  say "1. Data: $IMAGES images of $PNEUMOSCOPE_DATA"
  DATA="$PNEUMOSCOPE_DATA"
else
  say "1. Data: $IMAGES phantoms (PNEUMOSCOPE_DATA names no real radiographs)"
  pneumoscope data phantom "$OUT/data" -n "$IMAGES" --seed 1
  DATA="$OUT/data"
fi

say "2. Reorganise 80/10/10, patients apart"
pneumoscope data reorganize "$DATA" "$OUT/reorganized" --limit "$IMAGES" --seed 1 || [ $? -eq 1 ]  # some left out

say "3. Starting weights: a short robust run on other phantoms"
pneumoscope data phantom "$OUT/other_phantoms" -n 1200 --seed 1001
pneumoscope train "$OUT/other_phantoms" --out "$OUT/start" --recipe robust --weights none \
  --set trained.epochs=9 --set 'trained.resolutions=[[80,0.7],[160,0.15],[224,0.15]]' \
  --set trained.averaging=0.98 --set trained.learning_rate=0.002

say "4. Train ResNet50 in two stages: frozen backbone, then fine-tuning"
pneumoscope train "$OUT/reorganized" --out "$OUT/run" --recipe classic --weights "$OUT/start/bundle"

say "5. Predict on a new image, with a heat-map"
IMAGE="$(find "$OUT/reorganized/test/PNEUMONIA" -type f | sort | sed -n 1p)"
pneumoscope predict "$IMAGE" --bundle "$OUT/run/bundle" --heatmaps "$OUT/heatmaps"

say "Where everything is"
printf '%-10s %s\n' \
  data "$OUT/reorganized" report "$OUT/run/report.html" figures "$OUT/run/figures" \
  model "$OUT/run/bundle" heat-map "$OUT/heatmaps"
