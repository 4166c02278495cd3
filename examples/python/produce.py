"""Sends a reservation to bellhop and waits for its outcome.

    pip install "confluent-kafka[avro,schemaregistry]==2.12.2"
    python produce.py localhost:9092 http://localhost:8081 PROPERTY_ID [IDEMPOTENCY_KEY]

The schemas come from the registry, where `bellhop schemas register` has put them.
"""

import sys
import time
import uuid
from datetime import date, datetime, timezone

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

COMMANDS, REPLIES = "bellhop.commands", "bellhop.replies"


def create_reservation(property_id: str, reservation_id: uuid.UUID, idempotency_key: str) -> dict:
    """Two nights in a double room, priced by us; fields left out take their defaults."""
    line = {
        "product": "DBL",
        "units": 1,
        "arrival": date(2027, 9, 10),
        "departure": date(2027, 9, 12),
        "adults": 2,
        "currency": "EUR",
        "priced_by": "Client",
        "nights": [{"room": 9000, "tax": 0, "extras": 0}, {"room": 9500, "tax": 0, "extras": 0}],
    }
    return {
        "meta": {
            "message_id": uuid.uuid4().bytes,
            # One for each intent: sent again, the first outcome comes again.
            "idempotency_key": idempotency_key,
            "occurred_at": datetime.now(timezone.utc),
        },
        "property_id": uuid.UUID(property_id).bytes,
        "reservation_id": reservation_id.bytes,
        "lines": [line],
    }


def verdict(reply: dict, event: dict) -> tuple[bool, str]:
    """Whether the command was accepted, and what became of it in words."""
    # First the outcome: what was not decided has the code 0 as well.
    if reply["outcome"] == "Parked":
        return False, f"not decided, parked as {reply['parked']}: {reply['cause']}"
    if reply["outcome"] == "Conflict":
        return False, "not decided: the idempotency key came with another payload before"
    if reply["code"] != 0:
        reasons = [reason["rule"] for reason in event.get("reasons", [])]
        return False, f"refused by {reasons or reply['refusal']}"
    # The event of a repeat was written before.
    return True, f"accepted as {event['confirmation_number']}" if event else "accepted before"


def main(brokers: str, registry_url: str, property_id: str, idempotency_key: str = "") -> None:
    registry = SchemaRegistryClient({"url": registry_url})
    name = "bellhop.command.CreateReservation"
    serialize = AvroSerializer(
        registry,
        registry.get_latest_version(name).schema.schema_str,
        conf={"auto.register.schemas": False, "subject.name.strategy": record_subject_name_strategy},
    )
    # Where librdkafka's own default disagrees with Java's clients; bellhop wants theirs.
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})

    listener = Consumer(
        {"bootstrap.servers": brokers, "group.id": str(uuid.uuid4()), "isolation.level": "read_committed"}
    )
    partitions = listener.list_topics(REPLIES, timeout=10).topics[REPLIES].partitions
    ends = [
        TopicPartition(REPLIES, p, listener.get_watermark_offsets(TopicPartition(REPLIES, p), timeout=10)[1])
        for p in partitions
    ]
    listener.assign(ends)

    reservation_id = uuid.uuid4()
    correlation_id = str(uuid.uuid4()).encode()
    context = SerializationContext(COMMANDS, MessageField.VALUE)
    producer.produce(
        COMMANDS,
        key=property_id,
        value=serialize(
            create_reservation(property_id, reservation_id, idempotency_key or f"web-{reservation_id}"),
            context,
        ),
        headers=[("reply-to", REPLIES.encode()), ("correlation-id", correlation_id)],
    )
    producer.flush(10)

    deserialize = AvroDeserializer(registry)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        message = listener.poll(1)
        if message is None or message.error():
            continue
        if dict(message.headers() or []).get("correlation-id") == correlation_id:
            context = SerializationContext(REPLIES, MessageField.VALUE)
            reply = deserialize(message.value(), context)
            # The event itself: the confirmation number, or every reason and what could be had.
            event = deserialize(reply["event"], context) if reply["event"] else {}
            accepted, words = verdict(reply, event)
            print(f"{reply['outcome']}: {words}, reservation {reservation_id}")
            sys.exit(0 if accepted else 1)
    sys.exit("no reply in 30 s: is a `bellhop run` working?")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
