//! Text from outside, damaged: lines of commands, rows of bookings, configuration.

use std::path::Path;

use bellhop_fuzz::fuzz;

use crate::config::Config;
use crate::lines;
use crate::replay::import::Import;

const LINES: [&str; 4] = [
    r#"{"type":"DefineProperty","idempotency_key":"p1","property_id":"7b0c7e52-6f5e-4a54-9d1c-3f2a8a6b1c01","code":"Seaview","time_zone":"Europe/Lisbon","roll_hour":3,"currency":"EUR","physical":2}"#,
    r#"{"type":"CreateReservation","idempotency_key":"r1","property_id":"7b0c7e52-6f5e-4a54-9d1c-3f2a8a6b1c01","reservation_id":"11111111-1111-4111-8111-111111111111","lines":[{"product":"DBL","units":2,"arrival":"2027-08-01","departure":"2027-08-03","adults":4,"currency":"EUR","priced_by":"Client","nights":[{"room":9000},{"room":9500}]}]}"#,
    r#"{"type":"CancelReservation","idempotency_key":"c1","property_id":"7b0c7e52-6f5e-4a54-9d1c-3f2a8a6b1c01","external_ref":{"system":"pms","id":"4711"}}"#,
    r#"{"type":"SetPhysicalCount","idempotency_key":"k1","property_id":"7b0c7e52-6f5e-4a54-9d1c-3f2a8a6b1c01","count":10,"first_night":"2027-01-01","last_night":"2027-12-31"}"#,
];

const BOOKINGS: &str = "hotel,is_canceled,lead_time,arrival_date_year,arrival_date_month,arrival_date_week_number,arrival_date_day_of_month,stays_in_weekend_nights,stays_in_week_nights,adults,children,babies,meal,country,market_segment,distribution_channel,is_repeated_guest,previous_cancellations,previous_bookings_not_canceled,reserved_room_type,assigned_room_type,booking_changes,deposit_type,agent,company,days_in_waiting_list,customer_type,adr,required_car_parking_spaces,total_of_special_requests,reservation_status,reservation_status_date
Resort Hotel,0,342,2015,July,27,1,0,2,2,0,0,BB,PRT,Direct,Direct,0,0,0,C,C,3,No Deposit,NULL,NULL,0,Transient,75.5,0,0,Check-Out,2015-07-03
City Hotel,1,85,2015,July,27,1,0,3,2,1,0,BB,GBR,Online TA,TA/TO,0,0,0,A,A,0,No Deposit,240,NULL,0,Transient,82,0,1,Canceled,2015-05-06
";

const CONFIGURATION: &str = "partitions = 16
workers = 2
commit_records = 1000
output_headers = [\"cloudevents\"]
http = \"127.0.0.1:9464\"
[kafka]
brokers = \"localhost:9092\"
registry = \"http://localhost:8081\"
tls = true
[telemetry]
otlp = \"http://localhost:4318\"
";

fn text(input: &[u8]) -> Vec<u8> {
    input.to_vec()
}

#[test]
fn fuzz_lines_of_commands() {
    fuzz(&LINES.map(|line| text(line.as_bytes())), |line| {
        if let Err(error) = lines::parse(line, false) {
            assert!(!format!("{error:#}").is_empty());
        }
    });
}

#[test]
fn fuzz_rows_of_bookings() {
    fuzz(&[text(BOOKINGS.as_bytes())], |file| {
        if let Ok(import) = Import::read(file) {
            let taken = import.rows.len() + import.refused.len();
            assert!(taken <= file.len(), "{taken} rows of {} bytes", file.len());
        }
    });
}

#[test]
fn fuzz_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let file: &Path = &folder.path().join("bellhop.toml");
    fuzz(&[text(CONFIGURATION.as_bytes())], |toml| {
        std::fs::write(file, toml).expect("write the file");
        if let Ok(config) = Config::load(Some(file)) {
            assert!((1..=4_096).contains(&config.partitions));
        }
    });
}
