#!/bin/sh
# Pipeline `mnist` on OpenWhisk, with wsk.
# Written by `offramp deploy render`: change the pipeline file instead.
set -eu

wsk --apihost http://10.0.2.1:8080 package update mnist
wsk --apihost http://10.0.2.1:8080 action update mnist/cloud --docker registry.example/mnist-cloud:1.0 --web raw --timeout 60000 --memory 256 \
  --env OFFRAMP_EXIT_URL kafka://edge-kafka:9092/mnist.edge-output \
  --env OFFRAMP_FUNCTION inference \
  --env OFFRAMP_LAST true \
  --env OFFRAMP_MODEL /models/cloud.onnx \
  --env OFFRAMP_PLATFORM openwhisk \
  --env OFFRAMP_TIER cloud
