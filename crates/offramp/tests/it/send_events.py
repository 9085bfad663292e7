"""Sends an image to a function with the CloudEvents SDK, ADDRESS, in each mode, and reads the replies with it."""

import json
import sys
import urllib.request

from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

address = sys.argv[1]
image = [[[0] * 28] * 28]


def post(message):
    url = f"http://{address}/"
    request = urllib.request.Request(url, data=message.body, headers=message.headers, method="POST")
    with urllib.request.urlopen(request) as response:
        reply = http.HTTPMessage({name.lower(): value for name, value in response.headers.items()}, response.read())
    return http.from_http_event(reply)


attributes = {
    "specversion": "1.0",
    "type": "frame",
    "source": "/cameras/7",
    "id": "e1",
    "datacontenttype": "application/json",
    "partitionkey": "room-4 ü",
}
for write in (http.to_binary_event, http.to_structured_event):
    reply = post(write(CloudEvent(attributes=attributes, data=image)))
    assert reply.get_type() in ("dev.offramp.answer", "dev.offramp.features"), reply.get_attributes()
    assert reply.get_id() == "/cameras/7#e1" and reply.get_specversion() == "1.0"
    assert reply.get_extension("partitionkey") == "room-4 ü", reply.get_extension("partitionkey")
    data = reply.get_data()
    assert len((data if isinstance(data, list) else json.loads(data))[0]) >= 10, data
print("ok")
