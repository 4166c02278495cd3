-- Whether each event names the one before it, in a few rows: without a gap or a duplicate, `span` adds up
-- to the last offset + 1, and `links` to the hash of that offset less the hash of -1 (they wrap around).
-- `rows` counts the rows that were added up, so that the view can be held against its table.
CREATE TABLE IF NOT EXISTS event_links (
    `partition` Int32,
    landed_on Date,
    parked Int64,
    span Int64,
    links Int64,
    `rows` Int64
)
ENGINE = SummingMergeTree((parked, span, links, `rows`))
ORDER BY (`partition`, landed_on)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
