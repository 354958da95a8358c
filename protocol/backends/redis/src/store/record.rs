//! From a job's hash and an entry of its events to our words, and from a spec to the arguments of a script.
//! Nothing that is read back is trusted.

use std::collections::BTreeMap;

use protocol::error::JobError;
use protocol::event::{Event, EventKind};
use protocol::id::WorkerId;
use protocol::isolation::Isolation;
use protocol::job::{Attempt, Job, JobSpec, Reason};
use protocol::json::Json;
use protocol::lifecycle::{End, state_event_data};
use protocol::outcome::Outcome;
use protocol::state::JobState;
use protocol::time::Timestamp;

use crate::error::Unreadable;
use crate::fields::{Fields, instant, json, number};

/// The error of a job whose deadline passed, as JSON.
pub(super) fn expired(spec: &JobSpec) -> String {
    json(&End::expired(spec).error)
}

/// What `record()` in `scripts/parts/` takes: `ARGV[2..7]`.
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

/// The state of a record: the first word of its field.
pub(super) fn state(text: &str) -> Option<JobState> {
    text.split(' ').next().and_then(JobState::from_name)
}

/// What a record has besides the spec, of a job with one attempt or none.
pub(super) const OF_ONE_ATTEMPT: [&str; 9] =
    ["state", "seq", "attempt", "start:1", "end:1", "result", "error", "cancel", "dead"];

/// The job of a record.
pub(super) fn job(fields: &Fields) -> Result<Job, Unreadable> {
    job_of(spec(fields.text("spec").unwrap_or_default())?, fields)
}

/// The job of a record whose spec is known.
pub(super) fn job_of(spec: JobSpec, fields: &Fields) -> Result<Job, Unreadable> {
    let now = fields.must("state", Now::of)?;
    Ok(Job {
        spec,
        state: now.state,
        reason: now.reason,
        attempts: attempts(fields)?,
        cancel_requested: fields.text("cancel").is_some(),
        next_run_at: now.next_run_at,
        result: fields.maybe("result", |text| Json::parse(text.to_owned()).ok())?,
        error: fields.maybe("error", |text| serde_json::from_str(text).ok())?,
        finished_at: now.finished_at,
        dead_letter: fields.text("dead").is_some(),
        last_seq: fields.must("seq", number)?,
    })
}

/// The field `state`: `queued <reason>`, `scheduled <reason> <next start>`, `running`, or how it ended and when.
struct Now {
    state: JobState,
    reason: Option<Reason>,
    next_run_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

impl Now {
    fn of(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let state = JobState::from_name(words.next()?)?;
        let mut now = Self { state, reason: None, next_run_at: None, finished_at: None };
        if state.is_terminal() {
            now.finished_at = Some(instant(words.next()?)?);
        } else if state != JobState::Running {
            now.reason = Some(Reason::from_name(words.next()?)?);
            if state == JobState::Scheduled {
                now.next_run_at = Some(instant(words.next()?)?);
            }
        }
        words.next().is_none().then_some(now)
    }
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

/// All events of a job that the record stands for, as long as it has no list of them: that the job was queued, that its
/// first attempt started, and how it ended.
pub(super) fn implied(fields: &Fields) -> Result<Vec<Event>, Unreadable> {
    let job = job(fields)?;
    let state = |at, attempt, state, reason| (EventKind::State, at, attempt, state_event_data(state, reason));
    let queued = state(fields.must("at", instant)?, 0, JobState::Queued, Some(Reason::AwaitingWorker));
    let started = job.attempts.first().map(|attempt| state(attempt.started_at, 1, JobState::Running, None));
    let attempt = u32::from(started.is_some());
    let (state, dead_letter) = (job.state, job.dead_letter);
    let end = End { state, result: job.result, error: job.error, dead_letter };
    let ended = job.finished_at.map(|at| (EventKind::Result, at, attempt, end.event_data()));
    let events = [Some(queued), started, ended].into_iter().flatten().zip(1..);
    Ok(events.map(|((kind, at, attempt, data), seq)| Event { seq, kind, at, attempt, data }).collect())
}

/// The attempts of a record: of the nth, `start:n` is `<time> <isolation> <worker>`, and `end:n` is
/// `<time> <outcome> <error>`, where the error may be empty.
fn attempts(fields: &Fields) -> Result<Vec<Attempt>, Unreadable> {
    let mut attempts = BTreeMap::new();
    for (name, _) in fields.iter() {
        let Some(ordinal) = name.strip_prefix("start:") else { continue };
        let number = number(ordinal).ok_or_else(|| Unreadable::at(format!("the field {name}")))?;
        let mut attempt = fields.must(name, |text| started(number, text))?;
        if let Some((at, outcome, error)) = fields.maybe(&format!("end:{ordinal}"), ended)? {
            (attempt.ended_at, attempt.outcome, attempt.error) = (Some(at), Some(outcome), error);
        }
        attempts.insert(number, attempt);
    }
    Ok(attempts.into_values().collect())
}

fn started(number: u32, text: &str) -> Option<Attempt> {
    let mut words = text.splitn(3, ' ');
    Some(Attempt {
        number,
        started_at: instant(words.next()?)?,
        isolation: Isolation::from_name(words.next()?)?,
        worker: WorkerId::new(words.next()?).ok()?,
        ended_at: None,
        outcome: None,
        error: None,
    })
}

fn ended(text: &str) -> Option<(Timestamp, Outcome, Option<JobError>)> {
    let mut words = text.splitn(3, ' ');
    let (at, outcome) = (instant(words.next()?)?, Outcome::from_name(words.next()?)?);
    let error = Some(words.next()?).filter(|text| !text.is_empty());
    Some((at, outcome, error.map(serde_json::from_str).transpose().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = include_str!("../../../../fixtures/envelope-v1.json");

    fn fields(more: &[(&str, &str)]) -> Fields {
        let envelope: serde_json::Value = serde_json::from_str(SPEC).unwrap();
        let spec = envelope["jobs"][0].to_string();
        let base = [("spec", spec.as_str()), ("state", "running"), ("seq", "2")];
        let words = base.iter().chain(more).flat_map(|(name, value)| [*name, *value]);
        Fields::of_answer(std::iter::once("same").chain(words).map(str::to_owned).collect())
    }

    #[test]
    fn a_record_reads_back() {
        let error = r#"{"code":"worker_crashed","message":"a b"}"#;
        let crash = format!("6 crashed {error}");
        let record = [("start:2", "7 gate w2"), ("start:1", "5 none w1"), ("end:1", &crash), ("cancel", "1")];
        let job = job(&fields(&record)).unwrap();
        assert_eq!(
            (job.state, job.crashes(), job.last_seq, job.cancel_requested),
            (JobState::Running, 1, 2, true)
        );
        let [one, two] = job.attempts.as_slice() else { panic!("two attempts: {:?}", job.attempts) };
        assert_eq!((one.number, one.worker.as_str(), one.isolation), (1, "w1", Isolation::None));
        assert_eq!(one.ended_at, Some(Timestamp::from_millis(6)));
        assert_eq!(one.error.as_ref().map(|error| error.message.as_str()), Some("a b"));
        assert_eq!(
            (two.number, two.started_at, two.isolation),
            (2, Timestamp::from_millis(7), Isolation::Gate)
        );
        assert_eq!((two.ended_at, two.outcome, &two.error), (None, None, &None));
    }

    #[test]
    fn a_record_without_a_list_stands_for_its_events() {
        let implied = |record: &[(&str, &str)]| {
            let events = implied(&fields(&[&[("at", "4")], record].concat())).unwrap();
            let text = |event: Event| {
                let (kind, at, data) = (event.kind.as_str(), event.at.millis(), event.data);
                format!("{} {kind} {at} {} {}", event.seq, event.attempt, data.text())
            };
            events.into_iter().map(text).collect::<Vec<_>>()
        };
        let queued = r#"1 state 4 0 {"state":"queued","reason":"awaiting_worker"}"#;
        let running = r#"2 state 5 1 {"state":"running"}"#;
        let result = r#"3 result 6 1 {"state":"succeeded","result":{ "n" : 1.50 }}"#;
        assert_eq!(implied(&[("state", "queued awaiting_worker")]), [queued]);
        assert_eq!(implied(&[("start:1", "5 none w1")]), [queued, running]);
        let ended = [
            ("state", "succeeded 6"),
            ("start:1", "5 none w1"),
            ("end:1", "6 succeeded "),
            ("result", r#"{ "n" : 1.50 }"#),
        ];
        assert_eq!(implied(&ended), [queued, running, result]);
        let error = r#"{"code":"job_cancelled","message":"m"}"#;
        let cancelled = format!(r#"2 result 6 0 {{"state":"cancelled","error":{error}}}"#);
        assert_eq!(implied(&[("state", "cancelled 6"), ("error", error)]), [queued, &cancelled]);
        assert!(super::implied(&fields(&[])).is_err(), "it doesn't say when it was recorded");
    }

    #[test]
    fn a_state_says_why_and_when() {
        let now = |text| {
            let now = Now::of(text).unwrap();
            (now.state, now.reason, now.next_run_at, now.finished_at)
        };
        let at = Some(Timestamp::from_millis(5));
        assert_eq!(now("running"), (JobState::Running, None, None, None));
        assert_eq!(now("queued worker_lost"), (JobState::Queued, Some(Reason::WorkerLost), None, None));
        assert_eq!(now("scheduled not_due 5"), (JobState::Scheduled, Some(Reason::NotDue), at, None));
        assert_eq!(now("succeeded 5"), (JobState::Succeeded, None, None, at));
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
            ("state", "queued"),
            ("state", "scheduled not_due soon"),
            ("state", "failed"),
            ("state", "running 5"),
            ("start:x", "5 none w"),
            ("start:1", "5 none"),
            ("start:1", "5 w w"),
            ("start:99999999999", "5 none w"),
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
