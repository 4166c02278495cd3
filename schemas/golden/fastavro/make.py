"""Writes the fixtures of this folder with another implementation of Avro.

    python3 -m venv venv && venv/bin/pip install fastavro==1.13.1
    venv/bin/python schemas/golden/fastavro/make.py

The values are those of tests/contract/samples.rs.
"""

import copy
import datetime
import io
import json
import pathlib
import uuid

import fastavro

HERE = pathlib.Path(__file__).parent
AVRO = HERE.parent.parent / "avro"
UTC = datetime.timezone.utc


def load(name, known=None):
    """One file with the types that it names put in where they come first."""
    files = {}
    for path in AVRO.rglob("*.avsc"):
        schema = json.loads(path.read_text())
        files[schema["namespace"] + "." + schema["name"]] = schema
    written = set()

    def inline(node):
        if isinstance(node, str) and node in files and node not in written:
            written.add(node)
            return inline(copy.deepcopy(files[node]))
        if isinstance(node, list):
            return [inline(item) for item in node]
        if isinstance(node, dict):
            for key in ("type", "items"):
                if key in node and not isinstance(node[key], str) or key == "items" and key in node:
                    node[key] = inline(node[key])
            for field in node.get("fields", []):
                field["type"] = inline(field["type"])
        return node

    return inline(name)


def write(stem, schema, value):
    schema = fastavro.parse_schema(schema)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    (HERE / f"{stem}.bin").write_bytes(out.getvalue())


def id_of(number):
    return uuid.UUID(int=0x01900000000070008000000000000000 + number).bytes


def at(**day):
    return datetime.datetime(hour=14, tzinfo=UTC, **day)


NOW = at(year=2016, month=8, day=31)
BOOKED = at(year=2016, month=8, day=30)
ARRIVAL, DEPARTURE = datetime.date(2016, 9, 2), datetime.date(2016, 9, 4)
PRICE = {"room": 8950, "tax": 537, "extras": 0}

COMMAND_META = {
    "message_id": id_of(0xA0),
    "idempotency_key": "booking-0001",
    "correlation_id": id_of(0xC0),
    "causation_id": None,
    "occurred_at": NOW,
    "source": None,
}
EVENT_META = {
    "message_id": bytes.fromhex("123456789abc800180000000002a0000"),
    "idempotency_key": None,
    "correlation_id": id_of(0xC0),
    "causation_id": id_of(0xA0),
    "occurred_at": NOW,
    "source": {
        "topic": "bellhop.commands",
        "partition": 1,
        "offset": 42,
        "index": 0,
        "depth": 0,
        "idempotency_key": "booking-0001",
        "payload_hash": -7,
        "decided_by": "0.1.0",
    },
}
LINE = {
    "product": "DBL",
    "units": 1,
    "arrival": ARRIVAL,
    "departure": DEPARTURE,
    "adults": 2,
    "child_ages": [4, None],
    "dimensions": {
        "rate_plan": "BAR",
        "segment": "online-ta",
        "channel": "ota",
        "source": None,
        "company": None,
        "agent": "9",
        "block": None,
        "guarantee": "deposit",
    },
    "currency": "EUR",
    "priced_by": "Client",
    "nights": [PRICE, PRICE],
    "day_use": None,
}
COMMAND = {
    "meta": COMMAND_META,
    "property_id": id_of(1),
    "reservation_id": id_of(2),
    "booked_at": BOOKED,
    "guest_ref": "guest-4711",
    "country": "PRT",
    "external_refs": [{"system": "channel-manager", "id": "B-77"}],
    "lines": [LINE],
    "acceptance": "AlreadySold",
}
EVENT = {
    **COMMAND,
    "meta": EVENT_META,
    "business_date": datetime.date(2016, 8, 31),
    "confirmation_number": "RSV-2016-000042",
    "lines": [
        {
            **LINE,
            "number": 1,
            "nights": [
                {"night": ARRIVAL, "held": "SUI", "price": PRICE},
                {"night": ARRIVAL + datetime.timedelta(days=1), "held": None, "price": PRICE},
            ],
            "day_use": {"room": 0, "tax": 0, "extras": 0},
        }
    ],
    "oversold": [{"product": None, "night": ARRIVAL, "units": 3, "day_use": True}],
    "warnings": [
        {
            "rule": "SoldOut",
            "product": "DBL",
            "night": datetime.date(2016, 9, 3),
            "asked": 2,
            "allowed": -1,
            "reservation_id": id_of(2),
            "path": "lines[0].units",
            "found": "CheckedOut",
            "wanted": "Confirmed",
        }
    ],
}

command = load("bellhop.command.CreateReservation")
write("create_reservation", command, COMMAND)
write("reservation_created", load("bellhop.event.ReservationCreated"), EVENT)

# A release before `country`, `booked_at` and the guarantee of a line.
older = copy.deepcopy(command)
older["fields"] = [f for f in older["fields"] if f["name"] not in ("country", "booked_at")]
line = next(f for f in older["fields"] if f["name"] == "lines")["type"]["items"]
dimensions = next(f for f in line["fields"] if f["name"] == "dimensions")["type"]
dimensions["fields"] = [f for f in dimensions["fields"] if f["name"] != "guarantee"]
(HERE / "create_reservation_older.avsc").write_text(json.dumps(older, indent=2) + "\n")
write("create_reservation_older", older, COMMAND)

# A release after ours: more fields than we know, in another order, one no longer nullable.
newer = copy.deepcopy(command)
meta, *rest = newer["fields"]
newer["fields"] = [meta] + rest[::-1]
newer["fields"].insert(
    2,
    {
        "name": "labels",
        "type": {"type": "map", "values": {"type": "array", "items": ["null", "string"]}},
    },
)
for field in newer["fields"]:
    if field["name"] == "country":
        field["type"] = "string"
        del field["default"]
line = next(f for f in newer["fields"] if f["name"] == "lines")["type"]["items"]
line["fields"].insert(1, {"name": "weight", "type": ["double", "null"]})
(HERE / "create_reservation_newer.avsc").write_text(json.dumps(newer, indent=2) + "\n")
value = copy.deepcopy(COMMAND)
value["labels"] = {"a": ["x", None], "b": []}
value["lines"][0]["weight"] = 0.5
write("create_reservation_newer", newer, value)
