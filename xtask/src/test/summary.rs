//! What all groups of tests came to, told once at the end.

use std::fmt;

/// The groups so far.
#[derive(Debug, Default)]
pub(super) struct Summary {
    groups: Vec<Group>,
}

/// What one group came to.
#[derive(Debug)]
pub(super) struct Group {
    name: String,
    passed: u64,
    failed: u64,
    /// Names of tests that failed.
    failures: Vec<String>,
    /// It failed otherwise than by a test: it did not compile, or a test ended the process.
    broken: bool,
}

impl Summary {
    /// Adds a group.
    pub(super) fn group(&mut self, name: impl Into<String>) -> &mut Group {
        self.groups.push_mut(Group {
            name: name.into(),
            passed: 0,
            failed: 0,
            failures: Vec::new(),
            broken: false,
        })
    }

    /// Whether nothing failed.
    pub(super) fn is_green(&self) -> bool {
        self.groups.iter().all(|group| group.failed == 0 && !group.broken)
    }
}

impl Group {
    /// Takes a line that the test runner printed.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                let (before, _) = counts.split_once(word)?;
                before.trim_end().rsplit(' ').next()?.parse::<u64>().ok()
            };
            self.passed += count("passed").unwrap_or(0);
            self.failed += count("failed").unwrap_or(0);
        } else if let Some(test) = line.strip_prefix("test ")
            && let Some(name) = test.strip_suffix(" ... FAILED")
        {
            self.failures.push(name.to_owned());
        }
    }

    /// Takes how the program ended.
    pub(super) fn end(&mut self, success: bool) {
        self.broken = !success && self.failed == 0;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nSummary")?;
        for group in &self.groups {
            let Group { name, passed, failed, failures, broken } = group;
            let how = if *broken { ", did not run to its end" } else { "" };
            writeln!(out, "  {name}: {passed} passed, {failed} failed{how}")?;
            for failure in failures {
                writeln!(out, "    failed: {failure}")?;
            }
        }
        let passed: u64 = self.groups.iter().map(|group| group.passed).sum();
        let broken = self.groups.iter().filter(|group| group.broken).count() as u64;
        let failed: u64 = self.groups.iter().map(|group| group.failed).sum();
        writeln!(out, "{passed} passed, {} failed", failed + broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_add_up_and_a_failure_is_named() {
        let mut summary = Summary::default();
        let group = summary.group("first");
        group.read("test law::holds ... ok");
        group.read("test result: ok. 26 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        group.end(true);
        assert!(summary.is_green());
        let group = summary.group("second");
        group.read("test run::ends ... FAILED");
        group
            .read("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        group.end(false);
        assert!(!summary.is_green());
        let text = summary.to_string();
        assert!(text.contains("    failed: run::ends\n"), "{text}");
        assert!(text.ends_with("\n29 passed, 1 failed\n"), "{text}");
    }

    #[test]
    fn a_group_that_does_not_compile_is_a_failure() {
        let mut summary = Summary::default();
        summary.group("first").end(false);
        assert!(!summary.is_green());
        assert!(summary.to_string().ends_with("\n0 passed, 1 failed\n"), "{summary}");
    }
}
