-- A row per reservation: what was booked, what became of it, what is on the books.
CREATE VIEW IF NOT EXISTS reservations AS
WITH steps AS (
    SELECT
        property_id, reservation_id,
        sum(cancelled) AS cancelled, sum(no_show) AS no_show,
        sum(checked_in) AS checked_in, sum(checked_out) AS checked_out,
        max(known_at) AS changed_at
    FROM bookings
    GROUP BY property_id, reservation_id
), stayed AS (
    SELECT
        property_id, reservation_id,
        sumIf(units, kind = 'room') AS room_nights,
        sum(room) AS room, sum(tax) AS tax, sum(extras) AS extras
    FROM room_nights
    GROUP BY property_id, reservation_id
), created AS (
    SELECT `partition`, `offset`, ifNull(payload, '') AS body FROM events WHERE type = 'reservation.created'
)
SELECT
    book.property_id AS property_id,
    book.reservation_id AS reservation_id,
    nullIf(JSONExtractString(created.body, 'confirmation_number'), '') AS confirmation_number,
    nullIf(JSONExtractString(created.body, 'guest_ref'), '') AS guest_ref,
    nullIf(JSONExtractString(created.body, 'external_refs', 1, 'system'), '') AS external_system,
    nullIf(JSONExtractString(created.body, 'external_refs', 1, 'id'), '') AS external_id,
    multiIf(
        steps.cancelled > 0, 'cancelled',
        steps.no_show > 0, 'no_show',
        steps.checked_out > 0, 'checked_out',
        steps.checked_in > 0, 'checked_in',
        'booked'
    ) AS status,
    book.business_date AS booked_on,
    book.booked_at AS booked_at,
    steps.changed_at AS changed_at,
    book.arrival AS arrival,
    book.departure AS departure,
    book.nights AS nights,
    book.lead_days AS lead_days,
    book.lines AS lines,
    arraySum(line -> JSONExtractInt(line, 'adults'), JSONExtractArrayRaw(created.body, 'lines')) AS adults,
    stayed.room_nights AS room_nights,
    stayed.room AS room,
    stayed.tax AS tax,
    stayed.extras AS extras,
    book.currency AS currency,
    book.product AS product,
    book.rate_plan AS rate_plan,
    book.segment AS segment,
    book.channel AS channel,
    book.source AS source,
    book.company AS company,
    book.agent AS agent,
    book.block AS block,
    book.guarantee AS guarantee,
    book.country AS country,
    book.priced_by AS priced_by
FROM bookings AS book
JOIN steps ON steps.property_id = book.property_id AND steps.reservation_id = book.reservation_id
LEFT JOIN stayed ON stayed.property_id = book.property_id AND stayed.reservation_id = book.reservation_id
LEFT JOIN created ON created.`partition` = book.`partition` AND created.`offset` = book.`offset`
WHERE book.booked > 0
COMMENT 'Made by bellhop migrate'
