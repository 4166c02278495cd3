-- Every event, in the order of its partition. `previous` is the offset of the event before it (-1: none),
-- and the last columns say how many rows it has in the other tables: so a gap shows without the topic.
CREATE TABLE IF NOT EXISTS events (
    `partition` Int32 CODEC(ZSTD(1)),
    `offset` Int64 CODEC(Delta, ZSTD(1)),
    previous Int64 CODEC(Delta, ZSTD(1)),
    type LowCardinality(String),
    name LowCardinality(String),
    property_id Nullable(UUID) CODEC(ZSTD(1)),
    reservation_id Nullable(UUID) CODEC(ZSTD(1)),
    business_date Nullable(Date32) CODEC(ZSTD(1)),
    known_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    message_id UUID CODEC(ZSTD(1)),
    correlation_id Nullable(UUID) CODEC(ZSTD(1)),
    causation_id Nullable(UUID) CODEC(ZSTD(1)),
    source_offset Nullable(Int64) CODEC(ZSTD(1)),
    source_index Nullable(Int32) CODEC(ZSTD(1)),
    idempotency_key Nullable(String) CODEC(ZSTD(1)),
    decided_by LowCardinality(Nullable(String)),
    payload Nullable(String) CODEC(ZSTD(1)),
    room_nights Int32 CODEC(ZSTD(1)),
    bookings Int32 CODEC(ZSTD(1)),
    supply Int32 CODEC(ZSTD(1)),
    refusals Int32 CODEC(ZSTD(1)),
    properties Int32 CODEC(ZSTD(1)),
    products Int32 CODEC(ZSTD(1)),
    parked Int32 CODEC(ZSTD(1)),
    landed_at DateTime64(3, 'UTC') DEFAULT if(
        throwIf(
            toUnixTimestamp(nowInBlock('UTC')) > toUInt32OrDefault(extract(getSetting('log_comment'), 'until=(\\d+)'), toUInt32(4294967295)),
            'the plan of this batch is out of date'
        ),
        toDateTime64(0, 3, 'UTC'),
        now64(3, 'UTC')
    ) CODEC(Delta, ZSTD(1)),
    INDEX by_landed_at landed_at TYPE minmax GRANULARITY 1,
    INDEX by_message_id message_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_reservation_id reservation_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_correlation_id correlation_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY (`partition`, `offset`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1,
    enable_vertical_merge_algorithm = 0, merge_selector_base = 8
COMMENT 'Made by bellhop migrate'
