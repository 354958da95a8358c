//! Everything that was measured: for each thing and each program, one value of each round.

use std::time::{Duration, Instant};

use bench::stats::{median, round};
use serde_json::{Map, Value, json};

/// Values by what was measured (`throughput.noop_warm`), by who (`Sortie`).
#[derive(Debug)]
pub(crate) struct Figures {
    all: Vec<Series>,
    began: Instant,
}

#[derive(Debug)]
struct Series {
    what: String,
    who: String,
    values: Vec<f64>,
}

impl Figures {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { all: Vec::new(), began: Instant::now() }
    }

    /// How long ago the first could have been measured.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Adds the value of a round, and says so.
    #[expect(clippy::print_stderr, reason = "progress is for people")]
    pub(crate) fn add(&mut self, who: &str, what: &str, value: f64) {
        let seconds = self.age().as_secs();
        eprintln!("bench: {seconds:>4} s  {who:<9} {what:<32} {:>12}", round(value));
        match self.all.iter_mut().find(|series| series.what == what && series.who == who) {
            Some(series) => series.values.push(value),
            None => self.all.push(Series { what: what.into(), who: who.into(), values: vec![value] }),
        }
    }

    /// The median of all rounds, if it was measured.
    pub(crate) fn get(&self, who: &str, what: &str) -> Option<f64> {
        Some(median(self.values(who, what)?))
    }

    /// What the newest round gave.
    pub(crate) fn newest(&self, who: &str, what: &str) -> Option<f64> {
        self.values(who, what)?.last().copied()
    }

    /// What each round gave.
    pub(crate) fn values(&self, who: &str, what: &str) -> Option<&[f64]> {
        let series = self.all.iter().find(|series| series.what == what && series.who == who)?;
        Some(&series.values)
    }

    /// What was measured of whom, in that order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|series| (series.who.as_str(), series.what.as_str()))
    }

    /// All of it.
    pub(crate) fn json(&self) -> Value {
        let mut all = Map::new();
        for series in &self.all {
            let value = json!({
                "median": round(median(&series.values)),
                "rounds": series.values.iter().map(|value| round(*value)).collect::<Vec<_>>(),
            });
            let entry = all.entry(series.what.clone()).or_insert_with(|| json!({}));
            entry[&series.who] = value;
        }
        Value::Object(all)
    }
}
