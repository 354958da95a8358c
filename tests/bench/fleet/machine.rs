//! Where and how the figures were made.

use std::fs;

use protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::options::Options;

/// As data.
pub(crate) fn describe(options: &Options) -> Value {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = line("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "kernel": line("/proc/sys/kernel/osrelease").trim(),
        "at": Timestamp::now(),
        "form": format!("{:?}", options.form).to_lowercase(),
        "rounds": options.rounds(),
    })
}

/// As a sentence.
pub(crate) fn sentence(machine: &Value) -> String {
    let word = |name: &str| machine[name].to_string().replace('"', "");
    format!(
        "{} cores ({}), Linux {}, {}; everything on them: broker, store, load generator, handlers. Form `{}`, medians of {} \
         rounds (least to most).",
        word("cores"),
        word("cpu"),
        word("kernel"),
        word("at"),
        word("form"),
        word("rounds"),
    )
}
