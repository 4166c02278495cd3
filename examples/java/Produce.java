// Sends a reservation to bellhop and waits for its outcome.
//
// Needs org.apache.kafka:kafka-clients and org.apache.avro:avro on the class path:
//
//     java -cp 'lib/*' examples/java/Produce.java localhost:9092 http://localhost:8081 PROPERTY_ID [IDEMPOTENCY_KEY]
//
// Framing and registry are written out, since Confluent's serializer is not on Maven Central.

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.LocalDate;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Produce {
    static final String COMMANDS = "bellhop.commands";
    static final String REPLIES = "bellhop.replies";
    /** Jackson comes with Avro. */
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 3 && arguments.length != 4) {
            System.err.println("give BROKERS REGISTRY PROPERTY_ID [IDEMPOTENCY_KEY]");
            System.exit(2);
        }
        String brokers = arguments[0], registry = arguments[1], property = arguments[2];
        Registered create = latest(registry, "bellhop.command.CreateReservation");
        Registered replySchema = latest(registry, "bellhop.engine.Reply");
        Registered eventSchema = latest(registry, "bellhop.event.ReservationCreated");
        UUID reservation = UUID.randomUUID();
        String correlationId = UUID.randomUUID().toString();
        // One for each intent: sent again, the first outcome comes again.
        String key = arguments.length == 4 ? arguments[3] : "web-" + reservation;

        Map<String, Object> client = Map.of("bootstrap.servers", brokers, "isolation.level", "read_committed");
        try (var listener = new KafkaConsumer<>(client, new StringDeserializer(), new ByteArrayDeserializer());
             // The default partitioner is the one that bellhop wants.
             var producer = new KafkaProducer<>(
                     Map.<String, Object>of("bootstrap.servers", brokers), new StringSerializer(), new ByteArraySerializer())) {
            List<TopicPartition> partitions = listener.partitionsFor(REPLIES).stream()
                    .map(info -> new TopicPartition(info.topic(), info.partition())).toList();
            listener.assign(partitions);
            listener.seekToEnd(partitions);
            partitions.forEach(listener::position);

            byte[] value = framed(create, command(create.schema, property, reservation, key));
            var record = new ProducerRecord<>(COMMANDS, property, value);
            record.headers().add("reply-to", REPLIES.getBytes(StandardCharsets.UTF_8));
            record.headers().add("correlation-id", correlationId.getBytes(StandardCharsets.UTF_8));
            producer.send(record).get();

            long until = System.nanoTime() + Duration.ofSeconds(30).toNanos();
            while (System.nanoTime() < until) {
                for (ConsumerRecord<String, byte[]> found : listener.poll(Duration.ofSeconds(1))) {
                    var id = found.headers().lastHeader("correlation-id");
                    if (id == null || !correlationId.equals(new String(id.value(), StandardCharsets.UTF_8))) {
                        continue;
                    }
                    byte[] datum = Arrays.copyOfRange(found.value(), 5, found.value().length);
                    GenericRecord reply = new GenericDatumReader<GenericRecord>(replySchema.schema)
                            .read(null, DecoderFactory.get().binaryDecoder(datum, null));
                    boolean accepted = isAccepted(reply);
                    String verdict = accepted ? accepted(reply, eventSchema.schema) : refused(reply);
                    System.out.println(reply.get("outcome") + ": " + verdict + ", reservation " + reservation);
                    System.exit(accepted ? 0 : 1);
                    return;
                }
            }
        }
        System.err.println("no reply in 30 s: is a `bellhop run` working?");
        System.exit(1);
    }

    /** First the outcome: what was not decided has the code 0 as well. */
    static boolean isAccepted(GenericRecord reply) {
        String outcome = reply.get("outcome").toString();
        boolean decided = outcome.equals("Decided") || outcome.equals("Repeated");
        return decided && (Integer) reply.get("code") == 0;
    }

    /** The confirmation number stands in the event, which comes framed as it lies on its topic. */
    static String accepted(GenericRecord reply, Schema schema) throws Exception {
        ByteBuffer event = (ByteBuffer) reply.get("event");
        if (event == null) {
            return "accepted before";
        }
        byte[] created = Arrays.copyOfRange(event.array(), 5, event.array().length);
        return "accepted as " + new GenericDatumReader<GenericRecord>(schema)
                .read(null, DecoderFactory.get().binaryDecoder(created, null))
                .get("confirmation_number");
    }

    static String refused(GenericRecord reply) {
        return switch (reply.get("outcome").toString()) {
            case "Parked" -> "not decided, parked as " + reply.get("parked") + ": " + reply.get("cause");
            case "Conflict" -> "not decided: the idempotency key came with another payload before";
            default -> "refused by " + reply.get("refusal");
        };
    }

    /** Two nights in a double room, priced by us; fields left out take their defaults. */
    static GenericRecord command(Schema schema, String property, UUID reservation, String key) {
        Schema lineSchema = schema.getField("lines").schema().getElementType();
        Schema priceSchema = lineSchema.getField("nights").schema().getElementType();
        GenericRecord night = new GenericRecordBuilder(priceSchema)
                .set("room", 9_000L).set("tax", 0L).set("extras", 0L).build();
        GenericRecord line = new GenericRecordBuilder(lineSchema)
                .set("product", "DBL").set("units", 1)
                .set("arrival", (int) LocalDate.of(2027, 9, 24).toEpochDay())
                .set("departure", (int) LocalDate.of(2027, 9, 26).toEpochDay())
                .set("adults", 2).set("currency", "EUR")
                .set("priced_by", new GenericData.EnumSymbol(lineSchema.getField("priced_by").schema(), "Client"))
                .set("nights", List.of(night, night)).build();
        Schema metaSchema = schema.getField("meta").schema();
        GenericRecord meta = new GenericRecordBuilder(metaSchema)
                .set("message_id", uuid(metaSchema.getField("message_id").schema(), UUID.randomUUID()))
                .set("idempotency_key", key)
                .set("occurred_at", System.currentTimeMillis() * 1_000L).build();
        return new GenericRecordBuilder(schema).set("meta", meta)
                .set("property_id", uuid(schema.getField("property_id").schema(), UUID.fromString(property)))
                .set("reservation_id", uuid(schema.getField("reservation_id").schema(), reservation))
                .set("lines", List.of(line)).build();
    }

    static GenericData.Fixed uuid(Schema schema, UUID id) {
        byte[] bytes = ByteBuffer.allocate(16)
                .putLong(id.getMostSignificantBits()).putLong(id.getLeastSignificantBits()).array();
        return new GenericData.Fixed(schema, bytes);
    }

    /** A zero, the schema's id, the datum. */
    static byte[] framed(Registered type, GenericRecord record) throws Exception {
        var out = new ByteArrayOutputStream();
        out.write(ByteBuffer.allocate(5).put((byte) 0).putInt(type.id).array());
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(out, null);
        new GenericDatumWriter<GenericRecord>(type.schema).write(record, encoder);
        encoder.flush();
        return out.toByteArray();
    }

    record Registered(int id, Schema schema) {}

    /** The newest schema under a record's name. */
    static Registered latest(String registry, String name) throws Exception {
        URI address = URI.create(registry + "/subjects/" + name + "/versions/latest");
        HttpResponse<String> answer = HttpClient.newHttpClient()
                .send(HttpRequest.newBuilder(address).build(), HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException(name + " is not registered: bellhop schemas register");
        }
        Map<?, ?> body = JSON.readValue(answer.body(), Map.class);
        return new Registered(((Number) body.get("id")).intValue(), new Schema.Parser().parse((String) body.get("schema")));
    }
}
