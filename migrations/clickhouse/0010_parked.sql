-- Events that have no rows, with their bytes and the cause. Each has its row in `events`, too.
CREATE TABLE IF NOT EXISTS parked (
    `partition` Int32,
    `offset` Int64,
    name String,
    cause String CODEC(ZSTD(1)),
    known_at DateTime64(6, 'UTC'),
    `key` String CODEC(ZSTD(1)),
    value String CODEC(ZSTD(3)),
    landed_at DateTime64(3, 'UTC') DEFAULT if(
        throwIf(
            toUnixTimestamp(nowInBlock('UTC')) > toUInt32OrDefault(extract(getSetting('log_comment'), 'until=(\\d+)'), toUInt32(4294967295)),
            'the plan of this batch is out of date'
        ),
        toDateTime64(0, 3, 'UTC'),
        now64(3, 'UTC')
    ) CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (`partition`, `offset`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
