-- Share of the rooms that is sold.
-- By property and month, as known then: `as_of_day` is the close of a business date (2299-12-31 for now),
-- `as_of` an instant (2299-12-31 00:00:00 for now). docs/kpis.md says what it means.
WITH sold AS (
    SELECT property_id, toStartOfMonth(stay_night) AS month, sum(units) AS units, sum(room) AS room
    FROM room_nights
    WHERE kind = 'room' AND business_date <= {as_of_day:Date32} AND known_at <= {as_of:DateTime64(6, 'UTC')} AND (property_id, product) NOT IN (SELECT property_id, product FROM products WHERE NOT statistics)
    GROUP BY property_id, month
    HAVING units != 0 OR room != 0
), periods AS (
    -- From the first to the last night on the books of each property, as known then.
    SELECT property_id, min(stay_night) AS first, max(stay_night) AS last
    FROM (
        SELECT property_id, stay_night
        FROM room_nights
        WHERE kind = 'room' AND business_date <= {as_of_day:Date32} AND known_at <= {as_of:DateTime64(6, 'UTC')} AND (property_id, product) NOT IN (SELECT property_id, product FROM products WHERE NOT statistics)
        GROUP BY property_id, stay_night
        HAVING sum(units) > 0
    )
    GROUP BY property_id
), runs AS (
    SELECT
        property_id, toInt64(physical) AS physical,
        greatest(ifNull(first_night, toDate32('1900-01-01')), toDate32(periods.first)) AS run_first,
        least(ifNull(last_night, toDate32('2299-12-31')), toDate32(periods.last)) AS run_last
    FROM supply JOIN periods ON periods.property_id = supply.property_id
    WHERE product IS NULL AND physical != 0 AND business_date <= {as_of_day:Date32} AND known_at <= {as_of:DateTime64(6, 'UTC')}
), supplied AS (
    SELECT runs.property_id AS property_id, toStartOfMonth(run_first + day) AS month, sum(physical) AS supply
    FROM runs
    ARRAY JOIN range(toUInt32(greatest(dateDiff('day', run_first, run_last) + 1, 0))) AS day
    GROUP BY property_id, month
)
SELECT code AS property, formatDateTime(cells.month, '%Y-%m') AS month_of_stay, units / nullIf(supply, 0) AS value, '' AS currency
FROM (
    SELECT property_id, month, sum(units) AS units, sum(room) AS room, sum(supply) AS supply
    FROM (
        SELECT property_id, month, units, room, 0 AS supply FROM sold
        UNION ALL
        SELECT property_id, month, 0, 0, supply FROM supplied
    )
    GROUP BY property_id, month
) AS cells JOIN (
    SELECT property_id, if(count() OVER (PARTITION BY code) > 1, concat(code, ' (', toString(property_id), ')'), code) AS code FROM properties
) AS properties ON properties.property_id = cells.property_id
ORDER BY property, month_of_stay, currency
