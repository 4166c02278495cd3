-- Which log the tables hold: one row, written by the first sink that starts.
CREATE TABLE IF NOT EXISTS log (
    log_id UUID,
    partitions UInt32,
    since DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(since)
ORDER BY log_id
COMMENT 'Made by bellhop migrate'
