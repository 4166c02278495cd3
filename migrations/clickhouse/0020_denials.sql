-- Bookings refused, a row each, under the first rule that refused. `refusals` has every rule, and
-- also what was refused afterwards because the booking was not there.
CREATE VIEW IF NOT EXISTS denials AS
SELECT * FROM refusals WHERE command = 'CreateReservation' AND reason_index = 0
COMMENT 'Made by bellhop migrate'
