-- Share of the bookings that nobody cancelled and nobody came for; by month of arrival.
-- By property and month, as known then: `as_of_day` is the close of a business date (2299-12-31 for now),
-- `as_of` an instant (2299-12-31 00:00:00 for now). docs/kpis.md says what it means.
WITH cells AS (
    SELECT
        property_id, toStartOfMonth(assumeNotNull(arrival)) AS month, toInt64(sum(booked)) AS made, toInt64(sum(cancelled)) AS called_off,
        toInt64(sum(no_show)) AS not_come, sum(toInt64(ifNull(lead_days, 0)) * booked) AS days_before, sum(toInt64(ifNull(nights, 0)) * booked) AS nights_booked
    FROM bookings
    WHERE arrival IS NOT NULL AND business_date <= {as_of_day:Date32} AND known_at <= {as_of:DateTime64(6, 'UTC')}
    GROUP BY property_id, month
    HAVING made != 0
)
SELECT code AS property, formatDateTime(month, '%Y-%m') AS month_of_stay, not_come / nullIf(made - called_off, 0) AS value, '' AS currency
FROM cells JOIN (
    SELECT property_id, if(count() OVER (PARTITION BY code) > 1, concat(code, ' (', toString(property_id), ')'), code) AS code FROM properties
) AS properties ON properties.property_id = cells.property_id
ORDER BY property, month_of_stay
