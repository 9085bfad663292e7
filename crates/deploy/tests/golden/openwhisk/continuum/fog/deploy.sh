#!/bin/sh
# Pipeline `mnist` on OpenWhisk, with wsk.
# Written by `offramp deploy render`: change the pipeline file instead.
set -eu

wsk --apihost http://10.0.1.1:8080 package update mnist
wsk --apihost http://10.0.1.1:8080 action update mnist/fog --docker registry.example/mnist:1.0 --web raw --timeout 120000 --memory 256 \
  --env OFFRAMP_EXIT_URL kafka://edge-kafka:9092/mnist.edge-output \
  --env OFFRAMP_FORWARD_URL kafka://cloud-kafka:9092/mnist.cloud-input \
  --env OFFRAMP_FUNCTION inference \
  --env OFFRAMP_MODEL /models/fog.onnx \
  --env OFFRAMP_PLATFORM openwhisk \
  --env OFFRAMP_TIER fog
