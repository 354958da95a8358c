//! What was measured, as Markdown tables and as JSON.

use std::fmt;
use std::time::Duration;

use bench::stats::{median, percentile, round};
use serde_json::{Value, json};

use crate::memory::Memory;

/// Everything of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    samples: Vec<Sample>,
    busy: Vec<(&'static str, Vec<f64>)>,
    pub(crate) starts: Vec<Start>,
}

/// The times of one kind of thing.
#[derive(Debug)]
pub(crate) struct Sample {
    name: &'static str,
    times: Vec<Duration>,
}

/// Pools of one size.
#[derive(Debug)]
pub(crate) struct Start {
    slots: usize,
    first_call: Duration,
    memory: Memory,
}

impl Sample {
    pub(crate) const fn new(name: &'static str, times: Vec<Duration>) -> Self {
        Self { name, times }
    }
}

impl Start {
    pub(crate) fn new(slots: usize, mut times: Vec<Duration>, memory: Memory) -> Self {
        times.sort_unstable();
        Self { slots, first_call: times[times.len() / 2], memory }
    }
}

impl Report {
    /// Adds a sample to what there is of its name.
    pub(crate) fn add(&mut self, sample: Sample) {
        match self.samples.iter_mut().find(|other| other.name == sample.name) {
            Some(other) => other.times.extend(sample.times),
            None => self.samples.push(sample),
        }
    }

    /// Adds calls per second.
    pub(crate) fn add_busy(&mut self, name: &'static str, rate: f64) {
        match self.busy.iter_mut().find(|(other, _)| *other == name) {
            Some((_, rates)) => rates.push(rate),
            None => self.busy.push((name, vec![rate])),
        }
    }

    fn json(&self) -> Value {
        let times = self.samples.iter().map(|sample| {
            let value = json!({
                "p50_ms": round(percentile(&sample.times, 50)),
                "p99_ms": round(percentile(&sample.times, 99)),
                "count": sample.times.len(),
            });
            (sample.name.to_owned(), value)
        });
        let busy = self.busy.iter().map(|(name, rates)| ((*name).to_owned(), json!(median(rates).round())));
        let pools = self.starts.iter().map(|start| {
            json!({
                "slots": start.slots,
                "first_call_ms": round(start.first_call.as_secs_f64() * 1000.0),
                "pss_kib": {
                    "master": start.memory.master,
                    "slots": start.memory.slots.iter().map(|(template, call)| json!({
                        "template": template,
                        "call": call,
                    })).collect::<Vec<_>>(),
                    "total": start.memory.total(),
                },
            })
        });
        json!({
            "times": times.collect::<serde_json::Map<_, _>>(),
            "calls_per_second": busy.collect::<serde_json::Map<_, _>>(),
            "pools": pools.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        writeln!(f, "| one at a time, {cores} cores | p50 | p99 | of |\n|---|---:|---:|---:|")?;
        for sample in &self.samples {
            let (p50, p99) = (percentile(&sample.times, 50), percentile(&sample.times, 99));
            writeln!(f, "| {} | {p50:.2} ms | {p99:.2} ms | {} |", sample.name, sample.times.len())?;
        }
        writeln!(f, "\n| all {} slots busy | calls per second |\n|---|---:|", crate::SLOTS)?;
        for (name, rates) in &self.busy {
            writeln!(f, "| {name} | {:.0} |", median(rates))?;
        }
        writeln!(
            f,
            "\n| slots | start to first result | memory at rest (PSS): master | a slot: template | a slot: next call | a slot | all |"
        )?;
        writeln!(f, "|---:|---:|---:|---:|---:|---:|---:|")?;
        for start in &self.starts {
            let mean = |part: fn(&(u64, u64)) -> u64| {
                mib(start.memory.slots.iter().map(part).sum::<u64>() as f64 / start.memory.slots.len() as f64)
            };
            writeln!(
                f,
                "| {} | {:.0} ms | {} | {} | {} | {} | {} |",
                start.slots,
                start.first_call.as_secs_f64() * 1000.0,
                mib(start.memory.master as f64),
                mean(|(template, _)| *template),
                mean(|(_, call)| *call),
                mean(|(template, call)| template + call),
                mib(start.memory.total() as f64),
            )?;
        }
        write!(f, "\n```json\n{:#}\n```", self.json())
    }
}

fn mib(kib: f64) -> String {
    format!("{:.1} MiB", kib / 1024.0)
}
