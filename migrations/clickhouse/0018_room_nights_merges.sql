-- Merges take all columns at once and wait for more parts: half the processor time (see docs/clickhouse.md).
ALTER TABLE room_nights MODIFY SETTING enable_vertical_merge_algorithm = 0, merge_selector_base = 8
