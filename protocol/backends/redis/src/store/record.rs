//! From a job's hash and an entry of its events to our words, and from a spec to the arguments of a script.
//! Nothing that is read back is trusted.

use std::collections::BTreeMap;

use protocol::event::{Event, EventKind};
use protocol::id::WorkerId;
use protocol::isolation::Isolation;
use protocol::job::{Attempt, Job, JobSpec, Reason};
use protocol::json::Json;
use protocol::lifecycle::End;
use protocol::outcome::Outcome;
use protocol::state::JobState;

use crate::error::Unreadable;
use crate::fields::{Fields, instant, json, number};

/// The error and the `result` event of a job whose deadline passed, as JSON.
pub(super) fn expired(spec: &JobSpec) -> [String; 2] {
    let end = End::expired(spec);
    [json(&end.error), end.event_data().text().to_owned()]
}

/// What `record()` in the prelude takes: `ARGV[2..7]`.
pub(super) fn arguments(spec: &JobSpec) -> [String; 6] {
    [
        spec.tenant.to_string(),
        spec.action.to_string(),
        json(spec),
        spec.deadline.millis().to_string(),
        spec.run_at.map(|at| at.millis().to_string()).unwrap_or_default(),
        spec.reply.as_ref().map(|_| "1".to_owned()).unwrap_or_default(),
    ]
}

/// The spec of a record.
pub(super) fn spec(text: &str) -> Result<JobSpec, Unreadable> {
    serde_json::from_str(text).map_err(|_| Unreadable::at("the job's spec"))
}

/// The job of a record.
pub(super) fn job(fields: &Fields) -> Result<Job, Unreadable> {
    Ok(Job {
        spec: spec(fields.text("spec").unwrap_or_default())?,
        state: fields.must("state", JobState::from_name)?,
        reason: fields.maybe("reason", Reason::from_name)?,
        attempts: attempts(fields)?,
        cancel_requested: fields.text("cancel").is_some(),
        next_run_at: fields.maybe("run_at", instant)?,
        result: fields.maybe("result", |text| Json::parse(text.to_owned()).ok())?,
        error: fields.maybe("error", |text| serde_json::from_str(text).ok())?,
        finished_at: fields.maybe("finished_at", instant)?,
        dead_letter: fields.text("dead").is_some(),
        last_seq: fields.must("seq", number)?,
    })
}

/// The event number `seq`, from its entry: `kind time attempt data`.
pub(super) fn event(seq: u64, entry: &str) -> Result<Event, Unreadable> {
    let parts = || -> Option<Event> {
        let mut parts = entry.splitn(4, ' ');
        Some(Event {
            seq,
            kind: EventKind::from_name(parts.next()?)?,
            at: instant(parts.next()?)?,
            attempt: number(parts.next()?)?,
            data: Json::parse(parts.next()?.to_owned()).ok()?,
        })
    };
    parts().ok_or_else(|| Unreadable::at(format!("the event {seq}")))
}

/// The attempts of a record: fields `a:<number>:<what>`.
fn attempts(fields: &Fields) -> Result<Vec<Attempt>, Unreadable> {
    let mut attempts = BTreeMap::new();
    for (name, worker) in fields.iter() {
        let Some(ordinal) = name.strip_prefix("a:").and_then(|rest| rest.strip_suffix(":w")) else {
            continue;
        };
        let field = |what: &str| format!("a:{ordinal}:{what}");
        let unreadable = || Unreadable::at(format!("the field {name}"));
        let attempt = Attempt {
            number: number(ordinal).ok_or_else(unreadable)?,
            worker: WorkerId::new(worker).map_err(|_| unreadable())?,
            // Releases that had none recorded nothing.
            isolation: fields.maybe(&field("i"), Isolation::from_name)?.unwrap_or_default(),
            started_at: fields.must(&field("s"), instant)?,
            ended_at: fields.maybe(&field("e"), instant)?,
            outcome: fields.maybe(&field("o"), Outcome::from_name)?,
            error: fields.maybe(&field("x"), |text| serde_json::from_str(text).ok())?,
        };
        attempts.insert(attempt.number, attempt);
    }
    Ok(attempts.into_values().collect())
}

#[cfg(test)]
mod tests {
    use protocol::time::Timestamp;

    use super::*;

    const SPEC: &str = include_str!("../../../../fixtures/envelope-v1.json");

    fn fields(more: &[(&str, &str)]) -> Fields {
        let envelope: serde_json::Value = serde_json::from_str(SPEC).unwrap();
        let spec = envelope["job"].to_string();
        let base = [("spec", spec.as_str()), ("state", "running"), ("seq", "2")];
        let words = base.iter().chain(more).flat_map(|(name, value)| [*name, *value]);
        Fields::of_answer(std::iter::once("same").chain(words).map(str::to_owned).collect())
    }

    #[test]
    fn a_record_reads_back() {
        let record = [("a:2:w", "w2"), ("a:2:s", "7"), ("a:1:w", "w1"), ("a:1:s", "5"), ("a:1:e", "6")];
        let record: Vec<_> =
            record.into_iter().chain([("a:1:o", "crashed"), ("a:2:i", "gate"), ("cancel", "1")]).collect();
        let job = job(&fields(&record)).unwrap();
        assert_eq!(job.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((job.crashes(), job.last_seq, job.cancel_requested), (1, 2, true));
        assert_eq!(job.attempts[1].started_at, Timestamp::from_millis(7));
        assert_eq!([0, 1].map(|n: usize| job.attempts[n].isolation), [Isolation::None, Isolation::Gate]);
    }

    #[test]
    fn an_event_reads_back_to_the_letter() {
        let event = event(7, "chunk 5 2 { \"a b\" : 1.50 }").unwrap();
        assert_eq!((event.seq, event.kind, event.attempt), (7, EventKind::Chunk, 2));
        assert_eq!((event.at.millis(), event.data.text()), (5, "{ \"a b\" : 1.50 }"));
    }

    #[test]
    fn what_we_did_not_write_is_unreadable_and_no_panic() {
        for bad in [
            ("spec", "{"),
            ("state", "asleep"),
            ("seq", "-1"),
            ("a:x:w", "w"),
            ("a:1:w", "w"),
            ("a:99999999999:w", "w"),
            ("run_at", "soon"),
            ("result", "{"),
            ("error", "[]"),
        ] {
            assert!(job(&fields(&[bad])).is_err(), "{bad:?}");
        }
        assert!(job(&Fields::default()).is_err());
        for bad in ["", "chunk", "chunk 1 2", "chunk x 1 {}", "chunk 1 1 {", "shout 1 1 {}"] {
            assert!(event(1, bad).is_err(), "{bad}");
        }
    }
}
