-- Nights and revenue picked up on a business date for a month of stays, by property and product.
-- `rows` counts the rows that were added up, so that the view can be held against its table.
CREATE TABLE IF NOT EXISTS daily_pickup (
    property_id UUID,
    product LowCardinality(String),
    currency LowCardinality(String),
    stay_month Date32,
    business_date Date32,
    `partition` Int32,
    units Int64,
    room Int64,
    `rows` Int64
)
ENGINE = SummingMergeTree((units, room, `rows`))
ORDER BY (property_id, stay_month, business_date, product, currency, `partition`)
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
