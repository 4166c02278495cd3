-- The signed ledger of nights. Sorted so that the months of a property are ranges, and the nights of a
-- reservation lie together: its random id is then stored once (see docs/clickhouse.md).
CREATE TABLE IF NOT EXISTS room_nights (
    property_id UUID CODEC(ZSTD(1)),
    business_date Date32 CODEC(ZSTD(1)),
    known_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    booked_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    reservation_id UUID CODEC(ZSTD(1)),
    change_id UUID CODEC(ZSTD(1)),
    line Int32 CODEC(ZSTD(1)),
    stay_night Date32 CODEC(Delta, ZSTD(1)),
    arrival Date32 CODEC(ZSTD(1)),
    departure Date32 CODEC(ZSTD(1)),
    product LowCardinality(String),
    held LowCardinality(String),
    units Int32 CODEC(ZSTD(1)),
    room Int64 CODEC(ZSTD(1)),
    tax Int64 CODEC(ZSTD(1)),
    extras Int64 CODEC(ZSTD(1)),
    currency LowCardinality(String),
    kind LowCardinality(String),
    reason LowCardinality(String),
    rate_plan LowCardinality(Nullable(String)),
    segment LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    source LowCardinality(Nullable(String)),
    company LowCardinality(Nullable(String)),
    agent LowCardinality(Nullable(String)),
    block LowCardinality(Nullable(String)),
    guarantee LowCardinality(Nullable(String)),
    country LowCardinality(Nullable(String)),
    priced_by LowCardinality(String),
    `partition` Int32 CODEC(ZSTD(1)),
    `offset` Int64 CODEC(ZSTD(1)),
    `index` Int32 CODEC(ZSTD(1)),
    landed_at DateTime64(3, 'UTC') DEFAULT if(
        throwIf(
            toUnixTimestamp(nowInBlock('UTC')) > toUInt32OrDefault(extract(getSetting('log_comment'), 'until=(\\d+)'), toUInt32(4294967295)),
            'the plan of this batch is out of date'
        ),
        toDateTime64(0, 3, 'UTC'),
        now64(3, 'UTC')
    ) CODEC(Delta, ZSTD(1)),
    INDEX place (`partition`, `offset`) TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY (property_id, toStartOfMonth(stay_night), reservation_id, `offset`, `index`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1,
    enable_vertical_merge_algorithm = 0, merge_selector_base = 8
COMMENT 'Made by bellhop migrate'
