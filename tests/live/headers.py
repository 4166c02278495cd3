"""Prints what the packages of CloudEvents and OpenTelemetry read, a line each.

Arguments: brokers, the topic of events, a file with bodies of OTLP requests in hexadecimal.
"""

import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Consumer, TopicPartition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def events(brokers, topic):
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "others",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    })
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    ended = set()
    while len(ended) < len(partitions):
        message = consumer.poll(10)
        if message is None:
            raise SystemExit("nothing comes")
        if message.error():
            ended.add(message.partition())
            continue
        headers = dict(message.headers() or [])
        if "ce_id" not in headers:
            continue
        yield from_binary_event(
            KafkaMessage(headers=headers, key=message.key(), value=message.value()), JSONFormat()
        ), headers
    consumer.close()


def text(headers, name):
    return headers[name].decode() if name in headers else "-"


brokers, topic, bodies = sys.argv[1:]
for event, headers in events(brokers, topic):
    assert event.get_specversion() == "1.0"
    assert event.get_datacontenttype() == "application/avro"
    assert event.get_time().year > 2000 and event.get_time().tzinfo is not None
    print(
        "event", event.get_type(), event.get_id(), event.get_source(), event.get_subject(),
        text(headers, "traceparent"), text(headers, "tracestate"),
    )

for body in open(bodies):
    request = ExportTraceServiceRequest()
    request.ParseFromString(bytes.fromhex(body))
    for resource in request.resource_spans:
        said = {it.key: it.value.string_value for it in resource.resource.attributes}
        assert said["service.name"] == "bellhop", said
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            assert span.start_time_unix_nano <= span.end_time_unix_nano
            said = {it.key: it.value.string_value or it.value.int_value for it in span.attributes}
            print(
                "span", span.name, span.trace_id.hex(), span.span_id.hex(),
                span.parent_span_id.hex() or "-",
                Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                said.get("messaging.system", "-"),
                said.get("messaging.destination.partition.id", "-"),
                said.get("messaging.kafka.offset", "-"),
                said.get("bellhop.outcome", "-"),
                Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
            )
