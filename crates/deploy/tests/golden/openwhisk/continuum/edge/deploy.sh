#!/bin/sh
# Pipeline `mnist` on OpenWhisk, with wsk.
# Written by `offramp deploy render`: change the pipeline file instead.
set -eu

wsk --apihost http://10.0.0.1:8080 package update mnist
wsk --apihost http://10.0.0.1:8080 action update mnist/edge --docker registry.example/mnist:1.0 --web raw --timeout 60000 --memory 128 \
  --env OFFRAMP_CLASS_THRESHOLDS 1=0.5,7=0.9 \
  --env OFFRAMP_CRITERION max-softmax \
  --env OFFRAMP_EXIT_URL kafka://edge-kafka:9092/mnist.edge-output \
  --env OFFRAMP_FEATURES int8 \
  --env OFFRAMP_FORWARD_URL http://owdev-nginx.openwhisk/api/v1/web/vision/mnist/edge-forward.http \
  --env OFFRAMP_FUNCTION inference \
  --env OFFRAMP_MODEL /models/edge.onnx \
  --env OFFRAMP_ON_UPLINK_LOSS answer-here \
  --env OFFRAMP_PLATFORM openwhisk \
  --env OFFRAMP_THRESHOLD 0.8 \
  --env OFFRAMP_TIER edge
wsk --apihost http://10.0.0.1:8080 action update mnist/edge-forward --docker registry.example/mnist:1.0 --web raw --timeout 60000 --memory 256 \
  --env OFFRAMP_BOOTSTRAP_SERVERS fog-kafka-0:9092,fog-kafka-1:9093 \
  --env OFFRAMP_FUNCTION funnel \
  --env OFFRAMP_PLATFORM openwhisk \
  --env OFFRAMP_TOPIC mnist.fog-input
