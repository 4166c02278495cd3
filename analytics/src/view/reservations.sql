-- A row per reservation: what was booked, what became of it, what is on the books.
WITH steps AS (
    SELECT
        property_id, reservation_id,
        sum(cancelled) AS cancelled, sum(no_show) AS no_show,
        sum(checked_in) AS checked_in, sum(checked_out) AS checked_out,
        max(known_at) AS changed_at
    FROM bookings
    GROUP BY property_id, reservation_id
), nights AS (
    SELECT
        property_id, reservation_id,
        sum(CASE WHEN kind = 'room' THEN units ELSE 0 END) AS room_nights,
        sum(room) AS room, sum(tax) AS tax, sum(extras) AS extras
    FROM room_nights
    GROUP BY property_id, reservation_id
)
SELECT
    book.property_id,
    book.reservation_id,
    json_get(created.payload, 'confirmation_number') AS confirmation_number,
    json_get(created.payload, 'guest_ref') AS guest_ref,
    json_get(created.payload, 'external_refs.0.system') AS external_system,
    json_get(created.payload, 'external_refs.0.id') AS external_id,
    CASE
        WHEN steps.cancelled > 0 THEN 'cancelled'
        WHEN steps.no_show > 0 THEN 'no_show'
        WHEN steps.checked_out > 0 THEN 'checked_out'
        WHEN steps.checked_in > 0 THEN 'checked_in'
        ELSE 'booked'
    END AS status,
    book.business_date AS booked_on,
    book.booked_at,
    steps.changed_at,
    book.arrival,
    book.departure,
    book.nights,
    book.lead_days,
    book.lines,
    json_sum(created.payload, 'lines.*.adults') AS adults,
    coalesce(nights.room_nights, 0) AS room_nights,
    coalesce(nights.room, 0) AS room,
    coalesce(nights.tax, 0) AS tax,
    coalesce(nights.extras, 0) AS extras,
    book.currency,
    book.product,
    book.rate_plan,
    book.segment,
    book.channel,
    book.source,
    book.company,
    book.agent,
    book.block,
    book.guarantee,
    book.country,
    book.priced_by
FROM bookings AS book
JOIN steps ON steps.property_id = book.property_id AND steps.reservation_id = book.reservation_id
LEFT JOIN nights
    ON nights.property_id = book.property_id AND nights.reservation_id = book.reservation_id
LEFT JOIN (
    SELECT "partition", "offset", payload FROM events WHERE type = 'reservation.created'
) AS created
    ON created."partition" = book."partition" AND created."offset" = book."offset"
WHERE book.booked > 0
