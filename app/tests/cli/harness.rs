//! Runs the binary in a clean environment, and keeps one replay of the whole data set for all.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The booking data, packed.
pub(crate) const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/hotel_bookings.csv.gz");
/// The log id of the whole replay.
pub(crate) const LOG_ID: &str = "6b1f0b5e-1f4c-4f7c-9a51-5a8f2f1f7a10";

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Its output, when it went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Its errors, when it failed.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.stderr
    }

    /// The lines of its output as JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// The binary, without the configuration of whoever runs the tests.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellhop"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BELLHOP_") {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(std::env::temp_dir());
    command.env("XDG_CACHE_HOME", std::env::temp_dir().join("bellhop-tests-cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn bellhop(args: &[&str]) -> Ran {
    finish(command(args).spawn().expect("start bellhop"))
}

/// Runs with a text as standard input.
pub(crate) fn bellhop_with(args: &[&str], input: &str) -> Ran {
    fed(command(args), input)
}

/// Runs a prepared command with a text as standard input.
pub(crate) fn fed(mut command: Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("start bellhop");
    let mut stdin = child.stdin.take().expect("standard input");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // It may have ended before it read all.
        let _ = stdin.write_all(input.as_bytes());
    });
    let ran = finish(child);
    writer.join().expect("write standard input");
    ran
}

fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().expect("wait for bellhop");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("errors are UTF-8"),
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("make a temporary folder")
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of UTF-8")
}

/// A log with the whole data set, replayed once for all tests.
pub(crate) fn whole() -> &'static str {
    static WHOLE: OnceLock<(TempDir, String)> = OnceLock::new();
    &WHOLE
        .get_or_init(|| {
            let folder = folder();
            let data = text(folder.path()).to_owned();
            bellhop(&["replay", DATA, "--data", &data, "--log-id", LOG_ID]).ok();
            (folder, data)
        })
        .1
}

/// The header of the data set.
pub(crate) const HEADER: &str = "hotel,is_canceled,lead_time,arrival_date_year,arrival_date_month,arrival_date_week_number,arrival_date_day_of_month,stays_in_weekend_nights,stays_in_week_nights,adults,children,babies,meal,country,market_segment,distribution_channel,is_repeated_guest,previous_cancellations,previous_bookings_not_canceled,reserved_room_type,assigned_room_type,booking_changes,deposit_type,agent,company,days_in_waiting_list,customer_type,adr,required_car_parking_spaces,total_of_special_requests,reservation_status,reservation_status_date";

/// A row that makes sense, with some columns replaced.
pub(crate) fn row(changes: &[(&str, &str)]) -> String {
    let good = "City Hotel,0,10,2016,July,27,1,0,2,2,0,0,BB,PRT,Direct,Direct,0,0,0,A,A,0,No Deposit,NULL,NULL,0,Transient,80.5,0,0,Check-Out,2016-07-03";
    let mut cells: Vec<&str> = good.split(',').collect();
    for (name, value) in changes {
        let at = HEADER.split(',').position(|column| column == *name);
        cells[at.unwrap_or_else(|| panic!("no column {name}"))] = value;
    }
    cells.join(",")
}

/// Writes a file of rows.
pub(crate) fn csv(folder: &Path, rows: &[String]) -> PathBuf {
    let path = folder.join("bookings.csv");
    std::fs::write(&path, format!("{HEADER}\n{}\n", rows.join("\n"))).expect("write the file");
    path
}
