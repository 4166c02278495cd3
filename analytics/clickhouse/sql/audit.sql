-- Shows that every event has landed once. Paste it into any client of the database of the sink.
--
-- A row per table and partition. All is well when `missing` and `twice` are 0 everywhere; otherwise they
-- are how many rows there are at least, and the offsets from `damaged_from` to `damaged_to` hold them.
--   events          each event names the offset of the one before it: `missing` counts the links that
--                   lead elsewhere. Offsets that the broker used for itself are no gap.
--   other tables    each event says how many rows it has in them. Rows are held against that by blocks of
--                   1,000 offsets, with a sum of hashes of their places, so that a row too few and a row
--                   too many somewhere else do not cancel.
--   daily_...       each aggregate counts the rows that it has added up; so does event_links.
-- `first` and `last` are offsets of the events topic; of an aggregate they are not known.
WITH
    -- Change these to audit a part: a partition (-1: all) and its offsets.
    toInt32(-1) AS of_partition, toInt64(0) AS from_offset, toInt64(9223372036854775807) AS to_offset,
    chain AS (
        SELECT
            `partition`, `offset`, previous,
            row_number() OVER events_in_order AS number,
            lagInFrame(`offset`, 1, toInt64(-1)) OVER events_in_order AS before
        FROM events
        WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset
        WINDOW events_in_order AS (PARTITION BY `partition` ORDER BY `offset` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    wanted AS (
        SELECT
            `partition`, intDiv(`offset`, 1000) AS block,
            [
                ('room_nights', toInt64(sum(room_nights)), toInt64(sum(arraySum(arrayMap(i -> cityHash64(`offset`, toInt64(i)), range(toUInt32(room_nights))))))),
                ('supply', toInt64(sum(supply)), toInt64(sum(arraySum(arrayMap(i -> cityHash64(`offset`, toInt64(i)), range(toUInt32(supply))))))),
                ('refusals', toInt64(sum(refusals)), toInt64(sum(arraySum(arrayMap(i -> cityHash64(`offset`, toInt64(i)), range(toUInt32(refusals))))))),
                ('bookings', toInt64(sum(bookings)), toInt64(sum(bookings * cityHash64(`offset`, toInt64(0))))),
                ('properties', toInt64(sum(properties)), toInt64(sum(properties * cityHash64(`offset`, toInt64(0))))),
                ('products', toInt64(sum(products)), toInt64(sum(products * cityHash64(`offset`, toInt64(0))))),
                ('parked', toInt64(sum(parked)), toInt64(sum(parked * cityHash64(`offset`, toInt64(0)))))
            ] AS tables
        FROM events
        WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset
        GROUP BY `partition`, block
    ),
    places AS (
        SELECT 'room_nights' AS `table`, `partition`, intDiv(`offset`, 1000) AS block, min(`offset`) AS first_at, max(`offset`) AS last_at, toInt64(count()) AS found, toInt64(sum(cityHash64(`offset`, toInt64(`index`)))) AS hash
        FROM room_nights WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset GROUP BY `partition`, block
        UNION ALL
        SELECT 'supply', `partition`, intDiv(`offset`, 1000) AS block, min(`offset`), max(`offset`), toInt64(count()), toInt64(sum(cityHash64(`offset`, toInt64(`index`))))
        FROM supply WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset GROUP BY `partition`, block
        UNION ALL
        SELECT 'refusals', `partition`, intDiv(`offset`, 1000) AS block, min(`offset`), max(`offset`), toInt64(count()), toInt64(sum(cityHash64(`offset`, toInt64(reason_index))))
        FROM refusals WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset GROUP BY `partition`, block
        UNION ALL
        SELECT 'bookings', `partition`, intDiv(`offset`, 1000) AS block, min(`offset`), max(`offset`), toInt64(count()), toInt64(sum(cityHash64(`offset`, toInt64(0))))
        FROM bookings WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset GROUP BY `partition`, block
        UNION ALL
        SELECT 'properties', `partition`, intDiv(`offset`, 1000) AS block, min(`offset`), max(`offset`), toInt64(count()), toInt64(sum(cityHash64(`offset`, toInt64(0))))
        FROM properties WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset GROUP BY `partition`, block
        UNION ALL
        SELECT 'products', `partition`, intDiv(`offset`, 1000) AS block, min(`offset`), max(`offset`), toInt64(count()), toInt64(sum(cityHash64(`offset`, toInt64(0))))
        FROM products WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset GROUP BY `partition`, block
        UNION ALL
        SELECT 'parked', `partition`, intDiv(`offset`, 1000) AS block, min(`offset`), max(`offset`), toInt64(count()), toInt64(sum(cityHash64(`offset`, toInt64(0))))
        FROM parked WHERE (of_partition = -1 OR `partition` = of_partition) AND `offset` BETWEEN from_offset AND to_offset GROUP BY `partition`, block
    ),
    -- Wanted rows count down, found rows count up: what is left over is damage.
    blocks AS (
        SELECT
            `table`, `partition`, block, min(first_at) AS first, max(last_at) AS last, sum(found) AS `rows`,
            sum(found - expected) AS extra, sum(hash) AS hashes
        FROM (
            SELECT tables.1 AS `table`, `partition`, block, toInt64(9223372036854775807) AS first_at, toInt64(-1) AS last_at, toInt64(0) AS found, tables.2 AS expected, -tables.3 AS hash
            FROM wanted ARRAY JOIN tables
            UNION ALL
            SELECT `table`, `partition`, block, first_at, last_at, found, toInt64(0), hash FROM places
        )
        GROUP BY `table`, `partition`, block
    ),
    -- A part says nothing of them.
    views AS (
        SELECT `table`, `partition`, sum(wanted) AS wanted, sum(had) AS had
        FROM (
            SELECT 'daily_sales' AS `table`, `partition`, toInt64(count()) AS wanted, toInt64(0) AS had FROM room_nights WHERE of_partition = -1 AND kind = 'room' GROUP BY `partition`
            UNION ALL
            SELECT 'daily_sales', `partition`, 0, toInt64(sum(`rows`)) FROM daily_sales WHERE of_partition = -1 GROUP BY `partition`
            UNION ALL
            SELECT 'daily_pickup', `partition`, toInt64(count()), 0 FROM room_nights WHERE of_partition = -1 AND kind = 'room' GROUP BY `partition`
            UNION ALL
            SELECT 'daily_pickup', `partition`, 0, toInt64(sum(`rows`)) FROM daily_pickup WHERE of_partition = -1 GROUP BY `partition`
            UNION ALL
            SELECT 'daily_refusals', `partition`, toInt64(count()), 0 FROM refusals WHERE of_partition = -1 AND reason_index = 0 GROUP BY `partition`
            UNION ALL
            SELECT 'daily_refusals', `partition`, 0, toInt64(sum(`rows`)) FROM daily_refusals WHERE of_partition = -1 GROUP BY `partition`
            UNION ALL
            SELECT 'event_links', `partition`, toInt64(count()), 0 FROM events WHERE of_partition = -1 GROUP BY `partition`
            UNION ALL
            SELECT 'event_links', `partition`, 0, toInt64(sum(`rows`)) FROM event_links WHERE of_partition = -1 GROUP BY `partition`
        )
        GROUP BY `table`, `partition`
    )
SELECT * FROM (
    SELECT
        'events' AS `table`, `partition`, min(`offset`) AS first, max(`offset`) AS last, toInt64(count()) AS `rows`,
        toInt64(countIf(is_gap)) AS missing,
        toInt64(countIf(is_twice)) AS twice,
        minIf(if(is_twice, `offset`, least(before + 1, `offset`)), is_gap OR is_twice) AS damaged_from,
        maxIf(`offset`, is_gap OR is_twice) AS damaged_to
    FROM (
        SELECT
            `partition`, `offset`, before,
            (number > 1 OR from_offset = 0) AND `offset` = before AS is_twice,
            (number > 1 OR from_offset = 0) AND `offset` != before AND previous != before AS is_gap
        FROM chain
    )
    GROUP BY `partition`
    UNION ALL
    SELECT
        blocks.`table`, blocks.`partition`, if(sum(blocks.`rows`) = 0, toInt64(0), min(blocks.first)), greatest(max(blocks.last), 0), sum(blocks.`rows`),
        sum(if(extra = 0, toInt64(hashes != 0), greatest(-extra, 0))),
        sum(if(extra = 0, toInt64(hashes != 0), greatest(extra, 0))),
        minIf(greatest(block * 1000, from_offset), extra != 0 OR hashes != 0),
        maxIf(least(block * 1000 + 999, to_offset), extra != 0 OR hashes != 0)
    FROM blocks
    GROUP BY blocks.`table`, blocks.`partition`
    HAVING sum(blocks.`rows`) > 0 OR max(extra != 0 OR hashes != 0)
    UNION ALL
    SELECT `table`, `partition`, toInt64(0), toInt64(0), had, greatest(wanted - had, 0), greatest(had - wanted, 0), toInt64(0), toInt64(0)
    FROM views
)
ORDER BY `table`, `partition`
