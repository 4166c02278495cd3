-- Average daily rate, in minor units.
-- By property and month, as known then: `as_of_day` is the close of a business date (2299-12-31 for now),
-- `as_of` an instant (2299-12-31 00:00:00 for now). docs/kpis.md says what it means.
WITH sold AS (
    SELECT property_id, toStartOfMonth(stay_night) AS month, currency, sum(units) AS units, sum(room) AS room
    FROM room_nights
    WHERE kind = 'room' AND business_date <= {as_of_day:Date32} AND known_at <= {as_of:DateTime64(6, 'UTC')} AND (property_id, product) NOT IN (SELECT property_id, product FROM products WHERE NOT statistics)
    GROUP BY property_id, month, currency
    HAVING units != 0 OR room != 0
)
SELECT code AS property, formatDateTime(month, '%Y-%m') AS month_of_stay, room / nullIf(units, 0) AS value, sold.currency AS currency
FROM sold JOIN (
    SELECT property_id, if(count() OVER (PARTITION BY code) > 1, concat(code, ' (', toString(property_id), ')'), code) AS code FROM properties
) AS properties ON properties.property_id = sold.property_id
ORDER BY property, month_of_stay, currency
