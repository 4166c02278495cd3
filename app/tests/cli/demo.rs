//! The demo, and that what it tells to try next works as printed.

use std::process::Command;

use crate::harness::{bellhop, folder, text};

#[test]
fn the_demo_ends_in_figures_a_page_and_four_commands_that_work_as_printed() {
    let folder = folder();
    // A path that a shell would take apart.
    let data = folder.path().join("my demo's data");
    let told = bellhop(&["demo", "--data", text(&data)]).ok();
    for words in
        ["119,390 rows read", "14971", "313,981 commands", "75.3 %", "106.50", "96.78", "2016-08"]
    {
        assert!(told.contains(words), "wanted \"{words}\" in:\n{told}");
    }
    let page = std::fs::read_to_string(data.join("report.html")).expect("read the page");
    assert_eq!(page.matches("<svg").count(), 6, "two calendars, two lines, a curve, bars");
    for outside in ["src=", "url(", "@import", "<script", "<link rel=\"stylesheet"] {
        assert!(!page.contains(outside), "the page asks for something outside: {outside}");
    }
    let (_, next) = told.split_once("Try next:").expect("something to try next");
    let commands: Vec<_> = next.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let [questions @ .., tight] = commands.as_slice() else { panic!("{next}") };
    assert_eq!(questions.len(), 3, "{next}");
    for command in questions {
        let output = Command::new("sh").args(["-c", command]).output().expect("run a shell");
        assert!(output.status.success() && output.stdout.len() > 200, "{command}: {output:?}");
    }
    let command = format!("{tight} --data '{}'", text(&folder.path().join("tight")));
    let output = Command::new("sh").args(["-c", &command]).output().expect("run a shell");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!told.contains("refused 0\n") && told.contains("which rules refused"), "{told}");
    let again = bellhop(&["demo", "--data", text(&data)]).ok();
    assert!(again.contains("all decided by an earlier run"), "{again}");
}
