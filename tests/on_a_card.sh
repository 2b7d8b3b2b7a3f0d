#!/bin/sh
# What has to be seen on a card with CUDA, in one command: see docs/gpu.md. Logs go to a folder.
#
#     tests/on_a_card.sh [FOLDER [STAGE ...]]
#
# Stages are battery, speed, others, catalogue, configurations and random; all when none is named.
# PYTHON names the interpreter, WORKERS how many tests run at the same time.

set -u
folder=${1:-on-a-card}
[ $# -gt 0 ] && shift
logs=$(mkdir -p "$folder" && cd "$folder" && pwd) || exit
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python}
workers=${WORKERS:-12}
failed=0

run() {
    "$@" >"$logs/$stage.log" 2>&1 || failed=1
    echo "==== $stage"
    tail -n 25 "$logs/$stage.log"
}

for stage in card ${*:-battery speed others catalogue configurations random}; do
    case $stage in
    card) run "$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())' ;;
    battery) run "$python" -m pytest -m "cuda and not slow" -n "$workers" tests/backends ;;
    speed) run "$python" benchmarks/gpu.py --json "$logs/speed.json" ;;
    others) run "$python" benchmarks/gpu.py --others --json "$logs/others.json" ;;
    catalogue) run "$python" benchmarks/gpu.py --catalogue --json "$logs/catalogue.json" ;;
    configurations) run "$python" benchmarks/gpu_configurations.py ;;
    random) run "$python" -m pytest -m "cuda and slow" -n "$workers" tests/backends ;;
    *) echo "there is no stage '$stage'; see tests/on_a_card.sh" >&2 && failed=2 ;;
    esac
done
exit "$failed"
