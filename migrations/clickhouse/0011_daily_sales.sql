-- Nights on the books and their revenue, by property, product and night.
-- `rows` counts the rows that were added up, so that the view can be held against its table.
CREATE TABLE IF NOT EXISTS daily_sales (
    property_id UUID,
    product LowCardinality(String),
    currency LowCardinality(String),
    stay_night Date32,
    `partition` Int32,
    units Int64,
    room Int64,
    `rows` Int64
)
ENGINE = SummingMergeTree((units, room, `rows`))
ORDER BY (property_id, stay_night, product, currency, `partition`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
