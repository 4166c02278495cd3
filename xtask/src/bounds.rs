//! `docs/bounds.md` names every bound that stands in the sources, with its value.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const PAGE: &str = "docs/bounds.md";
/// Where bounds are that a user can meet.
const SOURCES: [&str; 5] = ["pipeline", "schemas/src", "handlers/src", "analytics", "app/src"];

/// A constant whose name ends in `_MAX`.
#[derive(Debug, PartialEq, Eq)]
struct Bound {
    /// As the page names it: `limits::KEY_BYTES_MAX`.
    name: String,
    /// Its value in the ways that the page may write it; none where it is no number.
    values: Vec<String>,
}

/// Names every bound that the page lacks, or gives with another value.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the workspace")?;
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("read {PAGE}"))?;
    let mut files = Vec::new();
    for folder in SOURCES {
        sources(&root.join(folder), &mut files)?;
    }
    let mut bounds = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).context("name a source")?;
        bounds.extend(of(stem, &text));
    }
    let faults: Vec<String> = bounds.iter().filter_map(|bound| fault(bound, &page)).collect();
    if !faults.is_empty() {
        bail!("{PAGE} is not what the sources say:\n  {}", faults.join("\n  "));
    }
    println!("{} bounds, all in {PAGE}", bounds.len());
    Ok(())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("list a folder")?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "tests" && name != "benches" {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs"
        {
            found.push(path);
        }
    }
    Ok(())
}

/// The bounds of a source, but for its tests.
fn of(stem: &str, source: &str) -> Vec<Bound> {
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap_or(source);
    let bound = |line: &str| {
        let (_, constant) = line.split_once("const ")?;
        let (name, rest) = constant.split_once(": ")?;
        let (_, value) = rest.split_once(" = ")?;
        let is_bound = name.ends_with("_MAX")
            && name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
        let values = written(value.trim_end_matches(';'));
        is_bound.then(|| Bound { name: format!("{stem}::{name}"), values })
    };
    source.lines().filter_map(bound).collect()
}

/// What is wrong with what the page says of it.
fn fault(bound: &Bound, page: &str) -> Option<String> {
    let Bound { name, values } = bound;
    let cell = format!("`{name}`");
    let Some(row) = page.lines().find(|line| line.contains(&cell)) else {
        return Some(format!("{name} is missing: add a row"));
    };
    // No digit before it: 100 is not the end of 4,100.
    let says = |value: &String| row.split('|').any(|cell| cell.trim().starts_with(value.as_str()));
    (!values.is_empty() && !values.iter().any(says))
        .then(|| format!("{name} is {}, its row says: {row}", values.join(" or ")))
}

/// A constant expression as people write its value.
fn written(expression: &str) -> Vec<String> {
    let unit = |name: &str| {
        expression.strip_prefix("Duration::from_")?.strip_prefix(name)?.strip_suffix(')')
    };
    if let Some(number) = unit("secs(").and_then(number) {
        let minutes = (number % 60 == 0).then(|| format!("{} min", number / 60));
        return [format!("{} s", grouped(number))].into_iter().chain(minutes).collect();
    }
    if let Some(number) = unit("millis(").and_then(number) {
        return vec![format!("{} ms", grouped(number))];
    }
    let Some(number) = number(expression) else { return Vec::new() };
    // The last for years.
    let mut values = vec![grouped(number), number.to_string()];
    for (shift, unit) in [(10, "KiB"), (20, "MiB")] {
        if number >= 1 << shift && number % (1 << shift) == 0 {
            values.push(format!("{} {unit}", grouped(number >> shift)));
        }
    }
    values
}

/// The value of products, shifts and literals.
fn number(expression: &str) -> Option<u64> {
    if let Some((left, right)) = expression.split_once(" << ") {
        return Some(number(left)? << number(right)?);
    }
    if expression.contains(" * ") {
        return expression.split(" * ").map(number).product();
    }
    expression.replace('_', "").parse().ok()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    [head.to_owned()]
        .into_iter()
        .filter(|head| !head.is_empty())
        .chain(groups)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_from_sources() {
        let source = "pub const KEY_BYTES_MAX: usize = 64 * 1_024;\nconst OTHER: u32 = 1;\n\
            const PAUSE_MAX: Duration = Duration::from_secs(120);\n\
            #[cfg(test)]\nmod tests {\n const TEST_MAX: u32 = 1;\n}\n";
        let bound = |name: &str, values: &[&str]| Bound {
            name: name.to_owned(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        let wanted = [
            bound("limits::KEY_BYTES_MAX", &["65,536", "65536", "64 KiB"]),
            bound("limits::PAUSE_MAX", &["120 s", "2 min"]),
        ];
        assert_eq!(of("limits", source), wanted);
    }

    #[test]
    fn a_bound_that_the_page_lacks_or_has_otherwise_is_named() {
        let bound = Bound { name: "a::LINES_MAX".to_owned(), values: written("1_000") };
        assert_eq!(fault(&bound, "| lines | 1,000 | `a::LINES_MAX` |"), None);
        let missing = fault(&bound, "| lines | 1,000 | `b::LINES_MAX` |").unwrap_or_default();
        assert!(missing.contains("missing"), "{missing}");
        let other = fault(&bound, "| lines | 41,000 | `a::LINES_MAX` |").unwrap_or_default();
        assert!(other.contains("is 1,000"), "{other}");
    }
}
