-- Fills `daily_refusals`.
CREATE MATERIALIZED VIEW IF NOT EXISTS daily_refusals_view TO daily_refusals AS
SELECT property_id, product, business_date, rule, command, `partition`, count() AS refused, sum(units) AS units, count() AS `rows`
FROM refusals
WHERE reason_index = 0
GROUP BY property_id, product, business_date, rule, command, `partition`
COMMENT 'Made by bellhop migrate'
