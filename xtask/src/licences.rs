//! Every dependency's licence must go with Apache-2.0.

use anyhow::{Context, bail};
use serde_json::Value;

/// Licences that may be linked into an Apache-2.0 program.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// Reads `cargo metadata` and names every package whose licence is none of the allowed.
pub(crate) fn check() -> anyhow::Result<()> {
    let metadata = crate::cargo::output(&["metadata", "--format-version=1", "--locked"])?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo metadata")?;
    let packages = metadata["packages"].as_array().context("find packages in cargo metadata")?;
    let mut wrong = Vec::new();
    for package in packages {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        match package["license"].as_str() {
            Some(licence) if is_allowed(licence)? => {}
            Some(licence) => wrong.push(format!("{name}: {licence}")),
            None => wrong.push(format!("{name}: no licence named")),
        }
    }
    if !wrong.is_empty() {
        bail!("these licences do not go with Apache-2.0:\n  {}", wrong.join("\n  "));
    }
    println!("{} packages, all licences go with Apache-2.0", packages.len());
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn is_allowed(licence: &str) -> anyhow::Result<bool> {
    let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)
        .map_err(|error| anyhow::anyhow!("read the licence \"{licence}\": {error}"))?;
    Ok(expression.evaluate(|requirement| {
        requirement.license.id().is_some_and(|id| ALLOWED.contains(&id.name))
    }))
}
