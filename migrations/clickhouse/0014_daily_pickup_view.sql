-- Fills `daily_pickup`.
CREATE MATERIALIZED VIEW IF NOT EXISTS daily_pickup_view TO daily_pickup AS
SELECT property_id, product, currency, toStartOfMonth(stay_night) AS stay_month, business_date, `partition`, sum(units) AS units, sum(room) AS room, count() AS `rows`
FROM room_nights
WHERE kind = 'room'
GROUP BY property_id, product, currency, stay_month, business_date, `partition`
COMMENT 'Made by bellhop migrate'
