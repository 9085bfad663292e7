#!/usr/bin/env bash
# Kafka-ML's own inference and `offramp function kafka-ml` in its place: three tiers each, the paper's models and limits,
# on a broker in memory, one after the other.
#
#   bench/recipes/kafka-ml.sh SOURCE MODELS RUNS [options of `offramp bench run`, as --profile paper --devices 5]
#
# SOURCE  `model_inference/tensorflow` of a checkout of github.com/ertis-research/kafka-ml, with a `config.py` that says
#         `DEBUG = False`
# MODELS  edge.h5, fog.h5 and cloud.h5 of the paper's repository
# RUNS    folder for the runs, `kafka-ml` and `offramp`; `offramp bench report RUNS/kafka-ml RUNS/offramp` compares them
#
# PYTHON is a Python with tensorflow-cpu and confluent-kafka (default: python3), OFFRAMP the program (default: offramp),
# OFFRAMP_DATA a folder with MNIST's test images. Kafka-ML answers without the headers of what it was asked, so answers are
# joined to records by their order, of both alike.
set -euo pipefail

source=$(realpath "$1") models=$(realpath "$2")
mkdir -p "$3"
runs=$(realpath "$3")
shift 3
offramp=${OFFRAMP:-offramp} python=${PYTHON:-python3}
broker=127.0.0.1:19092

# Starts a tier, whose shape and type of input, limit and upper topic are given.
tier() {
  mkdir "$work/$2"
  (
    cd "$work/$2"
    export INPUT_BOOTSTRAP_SERVERS=$broker OUTPUT_BOOTSTRAP_SERVERS=$broker MODEL_URL="file://$models/$2.h5"
    export INPUT_FORMAT=RAW INPUT_TOPIC="$2-in" OUTPUT_TOPIC="$2-out" GROUP_ID="inf-$2"
    export INPUT_CONFIG="{\"data_type\": \"$4\", \"data_reshape\": \"$3\"}"
    if [ $# -gt 4 ]; then export UPPER_BOOTSTRAP_SERVERS=$broker LIMIT=$5 OUTPUT_UPPER=$6; fi
    case $1 in
      kafka-ml) PYTHONPATH="$work/modules:$source" exec "$python" "$source/inference.py" ;;
      offramp) exec "$offramp" function kafka-ml ;;
    esac
  ) >"$work/$2.log" 2>&1 &
  pids+=("$2=$!")
}

# Waits until a tier has said that it has started.
started() {
  for _ in $(seq 240); do
    if grep -q "Started Kafka producer\|ready" "$work/$1.log"; then return; fi
    sleep 0.5
  done
  tail -n 5 "$work/$1.log" >&2
  echo "tier \`$1\` has not started within 120 s" >&2
  return 1
}

end() {
  for pid in "${pids[@]}"; do kill "${pid#*=}" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}

for system in kafka-ml offramp; do
  work=$(mktemp -d -p /dev/shm) pids=()
  trap end EXIT
  # Needed for AVRO only, and there is none for recent Pythons.
  mkdir "$work/modules" && touch "$work/modules/tensorflow_io.py"
  "$offramp" broker --dir "$work/log" --listen $broker >"$work/broker.log" 2>&1 &
  pids+=("broker=$!")
  for topic in edge-in edge-out fog-in fog-out cloud-in cloud-out; do
    "$offramp" topic create $topic --partitions 1 -b $broker
  done
  tier $system edge "28 28 1" uint8 0.65 fog-in
  tier $system fog 32 float32 0.5 cloud-in
  tier $system cloud 16 float32
  for name in edge fog cloud; do started $name; done
  sleep 10 # Until groups have settled, which all of Kafka-ML's tiers share.
  "$offramp" bench run -b $broker --in edge-in --out edge-out,fog-out,cloud-out --format kafka-ml --join order \
    --pid "$(IFS=,; echo "${pids[*]}")" --warm-up 20 --sample-ms 2000 --save "$runs/$system" "$@" || true
  end
  trap - EXIT
done
