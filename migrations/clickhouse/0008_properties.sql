-- Properties, as they were defined.
CREATE TABLE IF NOT EXISTS properties (
    property_id UUID,
    code String,
    time_zone String,
    roll_hour Int32,
    currency LowCardinality(String),
    business_date Date32,
    known_at DateTime64(6, 'UTC'),
    `partition` Int32,
    `offset` Int64,
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
ORDER BY (property_id, `offset`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
