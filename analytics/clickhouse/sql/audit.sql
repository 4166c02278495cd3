-- Shows that every event has landed once. Paste it into any client of the database of the sink.
--
-- A row per table and partition. All is well when `missing` and `twice` are 0 everywhere.
--   events          each event names the offset of the one before it: `missing` counts the links that
--                   lead elsewhere. Offsets that the broker used for itself are no gap.
--   other tables    each event says how many rows it has in them.
--   daily_...       each aggregate counts the rows that it has added up.
-- `first` and `last` are offsets of the events topic; of a view they are not known.
WITH
    chain AS (
        SELECT
            `partition`, `offset`, previous,
            lagInFrame(`offset`, 1, toInt64(-1)) OVER (PARTITION BY `partition` ORDER BY `offset` ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
        FROM events
    ),
    wanted AS (
        SELECT
            `partition`,
            sum(room_nights) AS room_nights, sum(bookings) AS bookings, sum(supply) AS supply, sum(refusals) AS refusals,
            sum(properties) AS properties, sum(products) AS products, sum(parked) AS parked
        FROM events
        GROUP BY `partition`
    ),
    found AS (
        SELECT 'room_nights' AS `table`, `partition`, min(`offset`) AS first, max(`offset`) AS last, count() AS `rows`, uniqExact(`offset`, `index`) AS `keys` FROM room_nights GROUP BY `partition`
        UNION ALL
        SELECT 'bookings', `partition`, min(`offset`), max(`offset`), count(), uniqExact(`offset`) FROM bookings GROUP BY `partition`
        UNION ALL
        SELECT 'supply', `partition`, min(`offset`), max(`offset`), count(), uniqExact(`offset`, `index`) FROM supply GROUP BY `partition`
        UNION ALL
        SELECT 'refusals', `partition`, min(`offset`), max(`offset`), count(), uniqExact(`offset`, reason_index) FROM refusals GROUP BY `partition`
        UNION ALL
        SELECT 'properties', `partition`, min(`offset`), max(`offset`), count(), uniqExact(`offset`) FROM properties GROUP BY `partition`
        UNION ALL
        SELECT 'products', `partition`, min(`offset`), max(`offset`), count(), uniqExact(`offset`) FROM products GROUP BY `partition`
        UNION ALL
        SELECT 'parked', `partition`, min(`offset`), max(`offset`), count(), uniqExact(`offset`) FROM parked GROUP BY `partition`
    ),
    expected AS (
        SELECT `partition`, pair.1 AS `table`, pair.2 AS `rows`
        FROM wanted
        ARRAY JOIN [
            ('room_nights', toInt64(room_nights)), ('bookings', toInt64(bookings)), ('supply', toInt64(supply)),
            ('refusals', toInt64(refusals)), ('properties', toInt64(properties)), ('products', toInt64(products)),
            ('parked', toInt64(parked))
        ] AS pair
    ),
    views AS (
        SELECT `table`, `partition`, sum(wanted) AS wanted, sum(had) AS had
        FROM (
            SELECT 'daily_sales' AS `table`, `partition`, toInt64(count()) AS wanted, toInt64(0) AS had FROM room_nights WHERE kind = 'room' GROUP BY `partition`
            UNION ALL
            SELECT 'daily_sales', `partition`, 0, toInt64(sum(`rows`)) FROM daily_sales GROUP BY `partition`
            UNION ALL
            SELECT 'daily_pickup', `partition`, toInt64(count()), 0 FROM room_nights WHERE kind = 'room' GROUP BY `partition`
            UNION ALL
            SELECT 'daily_pickup', `partition`, 0, toInt64(sum(`rows`)) FROM daily_pickup GROUP BY `partition`
            UNION ALL
            SELECT 'daily_refusals', `partition`, toInt64(count()), 0 FROM refusals WHERE reason_index = 0 GROUP BY `partition`
            UNION ALL
            SELECT 'daily_refusals', `partition`, 0, toInt64(sum(`rows`)) FROM daily_refusals GROUP BY `partition`
        )
        GROUP BY `table`, `partition`
    )
SELECT * FROM (
    SELECT
        'events' AS `table`, `partition`, min(`offset`) AS first, max(`offset`) AS last, toInt64(count()) AS `rows`,
        toInt64(countIf(`offset` != before AND previous != before)) AS missing,
        toInt64(countIf(`offset` = before)) AS twice
    FROM chain
    GROUP BY `partition`
    UNION ALL
    SELECT
        if(expected.`table` = '', found.`table`, expected.`table`) AS `table`,
        if(expected.`table` = '', found.`partition`, expected.`partition`) AS `partition`,
        found.first, found.last, toInt64(found.`rows`) AS `rows`,
        greatest(expected.`rows` - toInt64(found.`keys`), 0) AS missing,
        greatest(toInt64(found.`rows`) - least(expected.`rows`, toInt64(found.`keys`)), 0) AS twice
    FROM expected FULL OUTER JOIN found ON expected.`table` = found.`table` AND expected.`partition` = found.`partition`
    WHERE expected.`rows` > 0 OR found.`rows` > 0
    UNION ALL
    SELECT `table`, `partition`, toInt64(0), toInt64(0), had, greatest(wanted - had, 0), greatest(had - wanted, 0)
    FROM views
)
ORDER BY `table`, `partition`
