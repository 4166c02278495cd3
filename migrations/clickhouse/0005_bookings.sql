-- What became of reservations: a row per change.
CREATE TABLE IF NOT EXISTS bookings (
    property_id UUID CODEC(ZSTD(1)),
    business_date Date32 CODEC(ZSTD(1)),
    known_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    booked_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    reservation_id UUID CODEC(ZSTD(1)),
    change_id UUID CODEC(ZSTD(1)),
    reason LowCardinality(String),
    booked Int32 CODEC(ZSTD(1)),
    cancelled Int32 CODEC(ZSTD(1)),
    no_show Int32 CODEC(ZSTD(1)),
    checked_in Int32 CODEC(ZSTD(1)),
    checked_out Int32 CODEC(ZSTD(1)),
    arrival Nullable(Date32) CODEC(ZSTD(1)),
    departure Nullable(Date32) CODEC(ZSTD(1)),
    nights Nullable(Int32) CODEC(ZSTD(1)),
    lead_days Nullable(Int32) CODEC(ZSTD(1)),
    lines Int32 CODEC(ZSTD(1)),
    product LowCardinality(Nullable(String)),
    rate_plan LowCardinality(Nullable(String)),
    segment LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    source LowCardinality(Nullable(String)),
    company LowCardinality(Nullable(String)),
    agent LowCardinality(Nullable(String)),
    block LowCardinality(Nullable(String)),
    guarantee LowCardinality(Nullable(String)),
    country LowCardinality(Nullable(String)),
    priced_by LowCardinality(Nullable(String)),
    currency LowCardinality(Nullable(String)),
    `partition` Int32 CODEC(ZSTD(1)),
    `offset` Int64 CODEC(ZSTD(1)),
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
ORDER BY (property_id, reservation_id, `offset`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1,
    enable_vertical_merge_algorithm = 0, merge_selector_base = 8
COMMENT 'Made by bellhop migrate'
