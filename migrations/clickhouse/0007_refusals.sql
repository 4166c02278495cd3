-- What was refused, and why: a row per reason, one with `reason_index` 0 for each refused command.
CREATE TABLE IF NOT EXISTS refusals (
    property_id UUID CODEC(ZSTD(1)),
    business_date Date32 CODEC(ZSTD(1)),
    known_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    change_id UUID CODEC(ZSTD(1)),
    command LowCardinality(String),
    reservation_id Nullable(UUID) CODEC(ZSTD(1)),
    reason_index Int32,
    rule LowCardinality(Nullable(String)),
    rule_product LowCardinality(Nullable(String)),
    night Nullable(Date32),
    asked Nullable(Int64),
    allowed Nullable(Int64),
    arrival Nullable(Date32),
    departure Nullable(Date32),
    units Int64,
    product LowCardinality(Nullable(String)),
    rate_plan LowCardinality(Nullable(String)),
    segment LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    source LowCardinality(Nullable(String)),
    company LowCardinality(Nullable(String)),
    agent LowCardinality(Nullable(String)),
    country LowCardinality(Nullable(String)),
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
ORDER BY (property_id, business_date, `offset`, reason_index)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
