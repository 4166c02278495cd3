-- The signed ledger of supply: physical, out of order and allowance by run of nights.
CREATE TABLE IF NOT EXISTS supply (
    property_id UUID CODEC(ZSTD(1)),
    business_date Date32 CODEC(ZSTD(1)),
    known_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    change_id UUID CODEC(ZSTD(1)),
    product LowCardinality(Nullable(String)),
    statistics Nullable(Bool),
    first_night Nullable(Date32),
    last_night Nullable(Date32),
    physical Int32,
    out_of_order Int32,
    allowance Int32,
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
ORDER BY (property_id, `offset`, `index`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
