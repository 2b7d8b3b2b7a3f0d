#!/bin/sh
# What has to be seen on a card with CUDA, in one command: see docs/gpu.md. Logs go to a folder.
#
#     tests/on_a_card.sh [FOLDER]
#
# PYTHON names the interpreter, WORKERS how many tests run at the same time.

set -u
logs=$(mkdir -p "${1:-on-a-card}" && cd "${1:-on-a-card}" && pwd) || exit
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python}
failed=0

run() {  # run NAME COMMAND...
    name=$1
    shift
    "$@" >"$logs/$name.log" 2>&1 || failed=1
    tail -n 25 "$logs/$name.log"
}

run card "$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
run battery "$python" -m pytest -m "cuda and not slow" -n "${WORKERS:-12}" tests/backends
run speed "$python" benchmarks/gpu.py --json "$logs/speed.json"
run others "$python" benchmarks/gpu.py --others --json "$logs/others.json"
run catalogue "$python" benchmarks/gpu.py --catalogue --json "$logs/catalogue.json"
run configurations "$python" benchmarks/gpu_configurations.py
run random "$python" -m pytest -m "cuda and slow" -n "${WORKERS:-12}" tests/backends
exit "$failed"
