//! `sortie doctor`: what this host and the servers named can do, and how to mend what they can't.
//!
//! `probes` look (and change nothing but what a start would change too), `checks` judge what was seen.

mod checks;
mod probes;

use clap::ArgMatches;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::render;

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// It works.
    Ok,
    /// Good to know; nothing to do.
    Info,
    /// It works, but not as well as it could.
    Warning,
    /// It doesn't work.
    Problem,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// What was looked at.
    area: &'static str,
    level: Level,
    /// What was seen.
    finding: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Check {
    fn new(area: &'static str, level: Level, finding: impl Into<String>) -> Self {
        Self { area, level, finding: finding.into(), mend: None }
    }

    fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

/// Looks at everything and reports.
pub(crate) async fn run(arguments: &ArgMatches, as_json: bool) -> Result<Exit, Failure> {
    let seen = probes::look(arguments).await;
    let checks = checks::judge(&seen);
    let problems = checks.iter().filter(|check| check.level == Level::Problem).count();
    if as_json {
        render::json(&serde_json::json!({"healthy": problems == 0, "checks": checks}))?;
    } else {
        for check in &checks {
            render::line(&text(check))?;
        }
        render::say(&match problems {
            0 => "no problems found".to_owned(),
            1 => "1 problem found".to_owned(),
            count => format!("{count} problems found"),
        });
    }
    Ok(if problems == 0 { Exit::Ok } else { Exit::Unhealthy })
}

fn text(check: &Check) -> String {
    let level = match check.level {
        Level::Ok => "ok",
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Problem => "problem",
    };
    let mut text = format!("{level:<8} {:<10} {}", check.area, render::harmless(&check.finding));
    if let Some(mend) = &check.mend {
        text.push_str(&format!("\n{:19} to mend: {mend}", ""));
    }
    text
}
