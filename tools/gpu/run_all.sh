#!/usr/bin/env bash
# The full recipes on a machine with a GPU, one step a call or all of them, and a table of what they gave.
#
#     tools/gpu/run_all.sh OUT [STEP...]
#
# Takes prepared sets from PREPARED (default: prepared/), made on any machine by
#     verify prepare $VERIFY_DATA/faces/lfw -o prepared/lfw           (celeba, arabic_commands, librispeech_cohort likewise)
#     python tools/data/join_words.py $VERIFY_DATA/voices/arabic_commands /tmp/words --join 2
#     verify prepare /tmp/words -o prepared/arabic_words
#     verify prepare $VERIFY_DATA/faces/lfw -o prepared/lfw-160 --alignment facenet-160    (celeba-160 likewise)
#
# Every step ends within LIMIT_S (default 570 s). A recipe that is cut off there has written a checkpoint; the same step
# again goes on from it. Steps: the recipes' names, then bench (objectives and input pipeline beside other code) and
# table. PYTHON names the interpreter, GPUS the number of GPUs (torchrun). OUT/table.md is the result.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: tools/gpu/run_all.sh OUT [STEP...]}; shift
python=${PYTHON:-python3}; limit=${LIMIT_S:-570}; gpus=${GPUS:-1}; prepared=${PREPARED:-prepared}
faces=(face_mobilefacenet_arcface face_mobilefacenet_triplet face_mobilefacenet_both face_finetune face_inception_resnet_v1 face_iresnet50_adaface)
voices=(voice_ecapa_arcface voice_campplus_finetune)
steps=("$@"); [ ${#steps[@]} -gt 0 ] || steps=("${faces[@]}" "${voices[@]}" bench table)
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"

launch() { if [ "$gpus" -gt 1 ]; then "$python" -m torch.distributed.run --nproc-per-node "$gpus" -m verify "$@"; else "$python" -m verify "$@"; fi; }

# The recipe's prepared sets, wherever they lie.
sets_of() { sed -n 's/^prepared = "prepared\/\([^"]*\)".*/\1/p' "configs/$1.toml"; }
splits_of() { sed -n 's/^split = "\([^"]*\)".*/\1/p' "configs/$1.toml"; }

train() {
    local name=$1 run="$out/$1" arguments=()
    mapfile -t sets < <(sets_of "$name"); mapfile -t splits < <(splits_of "$name")
    for i in "${!sets[@]}"; do
        [ -d "$prepared/${sets[$i]}" ] || { echo "$name: no prepared set $prepared/${sets[$i]}; left out" >&2; return 0; }
        arguments+=(--data "$prepared/${sets[$i]}" --split "${splits[$i]}")
    done
    [ "$name" = face_finetune ] && arguments+=(--set "model.initial=$out/face_mobilefacenet_both")
    [ -d "$run/checkpoints" ] && arguments+=(--resume)
    launch train "configs/$name.toml" -o "$run" "${arguments[@]}" &
    local job=$!
    ( sleep "$limit"; kill -INT "$job" 2>/dev/null ) & local watch=$!
    wait "$job"; local code=$?
    kill "$watch" 2>/dev/null
    [ "$code" = 130 ] && echo "$name: cut off after $limit s; the same step again goes on" >&2
    return 0
}

bench() {
    "$python" tools/bench/objective_steps.py 2>&1 | tee "$out/objective_steps.txt"
    "$python" tools/bench/input_pipeline.py 2>&1 | tee "$out/input_pipeline.txt"
}

# Test subjects of each recipe's first set, held against its exported bundle.
table() {
    {
        "$python" -c 'import torch; print("torch", torch.__version__, "on", torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU")'
        for name in "${faces[@]}" "${voices[@]}"; do
            [ -d "$out/$name/checkpoints/best" ] || continue
            [ -d "$out/$name-bundle" ] || "$python" -m verify export "$out/$name" -o "$out/$name-bundle" --as "$(echo "$name" | tr _ -)" >&2
            mapfile -t sets < <(sets_of "$name"); mapfile -t splits < <(splits_of "$name")
            for i in "${!sets[@]}"; do
                "$python" tools/measure_models.py "$prepared/${sets[$i]}" "$name=$out/$name-bundle" --split "${splits[$i]}" --accuracy --markdown
            done
        done
        for file in "$out"/objective_steps.txt "$out"/input_pipeline.txt; do [ -f "$file" ] && { echo; sed 's/^/    /' "$file"; }; done
    } | tee "$out/table.md"
}

for step in "${steps[@]}"; do
    echo "== $step"
    case $step in
        bench) bench ;;
        table) table ;;
        *) [ -f "configs/$step.toml" ] || { echo "no recipe configs/$step.toml" >&2; exit 2; }; train "$step" ;;
    esac
done
