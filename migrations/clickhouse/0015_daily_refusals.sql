-- Refused commands by property, product asked for, business date and the first rule that refused.
-- `rows` counts the rows that were added up, so that the view can be held against its table.
CREATE TABLE IF NOT EXISTS daily_refusals (
    property_id UUID,
    product LowCardinality(Nullable(String)),
    business_date Date32,
    rule LowCardinality(Nullable(String)),
    command LowCardinality(String),
    `partition` Int32,
    refused Int64,
    units Int64,
    `rows` Int64
)
ENGINE = SummingMergeTree((refused, units, `rows`))
ORDER BY (property_id, business_date, command, `partition`, ifNull(product, ''), ifNull(rule, ''))
SETTINGS
    non_replicated_deduplication_window = 20000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Made by bellhop migrate'
