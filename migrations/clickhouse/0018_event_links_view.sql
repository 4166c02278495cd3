-- Fills `event_links`.
CREATE MATERIALIZED VIEW IF NOT EXISTS event_links_view TO event_links AS
SELECT `partition`, toDate(landed_at, 'UTC') AS landed_on, sum(toInt64(parked)) AS parked, sum(`offset` - previous) AS span, toInt64(sum(cityHash64(`offset`)) - sum(cityHash64(previous))) AS links, count() AS `rows`
FROM events
GROUP BY `partition`, landed_on
COMMENT 'Made by bellhop migrate'
