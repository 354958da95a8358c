//! The checker: what became of every job that was answered 202, and whether the invariants hold.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::StreamExt;
use protocol::event::{Event, EventKind};
use serde_json::Value;

use crate::support::Client;

/// The tally of a run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) accepted: usize,
    pub(crate) succeeded: usize,
    pub(crate) expired: usize,
    pub(crate) failed: BTreeMap<String, usize>,
    /// Jobs that are not terminal although their deadline and grace have passed, or that nobody knows.
    pub(crate) lost: Vec<String>,
    /// Jobs whose stream has more than one `result` event, or whose record contradicts it.
    pub(crate) duplicated: Vec<String>,
    /// Jobs that succeeded with something else than they should have returned.
    pub(crate) incorrect: Vec<String>,
    /// Jobs that needed more than one attempt.
    pub(crate) repeated: usize,
}

impl Report {
    /// Looks at every accepted job: `(id, the result it must have)`.
    pub(crate) async fn of(client: &Client, accepted: &[(String, Value)]) -> Self {
        let mut report = Self { accepted: accepted.len(), ..Self::default() };
        let looks = accepted.iter().map(|(id, expected)| async move {
            let job = client.get(&format!("/v1/jobs/{id}")).await.body;
            (id, expected, job, client.events(id).await)
        });
        let mut looks = futures_util::stream::iter(looks).buffer_unordered(16);
        while let Some((id, expected, job, events)) = looks.next().await {
            report.count(id, expected, &job, &events);
        }
        report
    }

    fn count(&mut self, id: &str, expected: &Value, job: &Value, events: &[Event]) {
        self.repeated += usize::from(job["attempts"].as_array().is_some_and(|attempts| attempts.len() > 1));
        match job["state"].as_str().unwrap_or("unknown") {
            "succeeded" => {
                self.succeeded += 1;
                if job["result"] != *expected {
                    self.incorrect.push(id.to_owned());
                }
            }
            "expired" => self.expired += 1,
            "failed" => {
                let code = job["error"]["code"].as_str().unwrap_or("none");
                *self.failed.entry(code.to_owned()).or_default() += 1;
            }
            other => self.lost.push(format!("{id} ({other})")),
        }
        let results: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Result).collect();
        let gapless = events.iter().map(|event| event.seq).eq(1..=events.len() as u64);
        if results.len() != 1 || results[0].data.value()["state"] != job["state"] || !gapless {
            self.duplicated.push(id.to_owned());
        }
    }

    /// What the invariants demand.
    pub(crate) fn assert_invariants(&self) {
        assert!(self.lost.is_empty(), "lost: {:?}", self.lost);
        assert!(self.duplicated.is_empty(), "duplicated terminal writes: {:?}", self.duplicated);
        assert!(self.incorrect.is_empty(), "incorrect: {:?}", self.incorrect);
        // The one reason for which a job of this run may fail: its worker was killed twice under it.
        let other: Vec<_> = self.failed.keys().filter(|code| *code != "worker_crashed").collect();
        assert!(other.is_empty(), "failed for other reasons: {other:?}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "accepted                    {}", self.accepted)?;
        writeln!(f, "succeeded                   {}", self.succeeded)?;
        writeln!(f, "  after more than 1 attempt {}", self.repeated)?;
        writeln!(f, "  with a wrong result       {}", self.incorrect.len())?;
        writeln!(f, "expired                     {}", self.expired)?;
        writeln!(f, "failed                      {}", self.failed.values().sum::<usize>())?;
        for (code, count) in &self.failed {
            writeln!(f, "  {code:<26}{count}")?;
        }
        writeln!(f, "lost                        {}", self.lost.len())?;
        write!(f, "duplicated terminal writes  {}", self.duplicated.len())
    }
}
