-- Which migrations were applied, written by `bellhop migrate` alone.
CREATE TABLE IF NOT EXISTS migrations (
    number UInt32,
    name String,
    checksum UInt64,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number
COMMENT 'Made by bellhop migrate'
