-- Fills `daily_sales`.
CREATE MATERIALIZED VIEW IF NOT EXISTS daily_sales_view TO daily_sales AS
SELECT property_id, product, currency, stay_night, `partition`, sum(units) AS units, sum(room) AS room, count() AS `rows`
FROM room_nights
WHERE kind = 'room'
GROUP BY property_id, product, currency, stay_night, `partition`
COMMENT 'Made by bellhop migrate'
