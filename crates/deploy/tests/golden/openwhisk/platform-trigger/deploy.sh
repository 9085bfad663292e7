#!/bin/sh
# Pipeline `digits` on OpenWhisk, with wsk.
# Written by `offramp deploy render`: change the pipeline file instead.
set -eu

wsk package update digits
wsk action update digits/edge --docker digits:0.1.0 --web raw --timeout 60000 --memory 256 \
  --env OFFRAMP_DEAD_LETTER_URL kafka://kafka:9092/digits.edge-dead-letter \
  --env OFFRAMP_ENCODING u8 \
  --env OFFRAMP_EXIT_URL kafka://kafka:9092/digits.edge-output \
  --env OFFRAMP_FORWARD_URL kafka://kafka:9092/digits.cloud-input \
  --env OFFRAMP_FUNCTION inference \
  --env OFFRAMP_MODEL /models/edge.onnx \
  --env OFFRAMP_PLATFORM openwhisk \
  --env OFFRAMP_TIER edge
wsk trigger get digits-edge-input >/dev/null 2>&1 || wsk trigger create digits-edge-input --feed /whisk.system/messaging/kafkaFeed \
  --param brokers '["kafka:9092"]' --param topic digits.edge-input \
  --param isJSONData false --param isBinaryKey true --param isBinaryValue true
wsk rule update digits-edge-run digits-edge-input digits/edge
wsk action update digits/cloud --docker digits:0.1.0 --web raw --timeout 60000 --memory 256 \
  --env OFFRAMP_DEAD_LETTER_URL kafka://kafka:9092/digits.cloud-dead-letter \
  --env OFFRAMP_EXIT_URL kafka://kafka:9092/digits.cloud-output \
  --env OFFRAMP_FUNCTION inference \
  --env OFFRAMP_LAST true \
  --env OFFRAMP_MODEL /models/cloud.onnx \
  --env OFFRAMP_PLATFORM openwhisk \
  --env OFFRAMP_TIER cloud
wsk trigger get digits-cloud-input >/dev/null 2>&1 || wsk trigger create digits-cloud-input --feed /whisk.system/messaging/kafkaFeed \
  --param brokers '["kafka:9092"]' --param topic digits.cloud-input \
  --param isJSONData false --param isBinaryKey true --param isBinaryValue true
wsk rule update digits-cloud-run digits-cloud-input digits/cloud
