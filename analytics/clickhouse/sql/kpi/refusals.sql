-- Bookings refused; by the month of arrival that was asked for.
-- By property and month, as known then: `as_of_day` is the close of a business date (2299-12-31 for now),
-- `as_of` an instant (2299-12-31 00:00:00 for now). docs/kpis.md says what it means.
WITH cells AS (
    SELECT property_id, toStartOfMonth(arrival) AS month, count() AS refused
    FROM refusals
    WHERE command = 'CreateReservation' AND reason_index = 0 AND business_date <= {as_of_day:Date32} AND known_at <= {as_of:DateTime64(6, 'UTC')}
    GROUP BY property_id, month
)
SELECT ifNull(nullIf(code, ''), toString(cells.property_id)) AS property, formatDateTime(month, '%Y-%m') AS month_of_stay, toFloat64(refused) AS value, '' AS currency
FROM cells LEFT JOIN (
    SELECT property_id, if(count() OVER (PARTITION BY code) > 1, concat(code, ' (', toString(property_id), ')'), code) AS code FROM properties
) AS properties ON properties.property_id = cells.property_id
ORDER BY property, month_of_stay
