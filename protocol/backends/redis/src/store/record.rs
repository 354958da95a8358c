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

/// What a record has besides the spec, of a job with one attempt or none.
pub(super) const OF_ONE_ATTEMPT: [&str; 5] = ["now", "start:1", "end:1", "result", "error"];

/// The lines of the news of an end, as `plain/finish.lua` tells them.
pub(super) const TOLD: [&str; 4] = ["now", "start:1", "end:1", "result"];

/// The job as the news of its end tell it; `None` if they aren't such lines, or of another job.
pub(super) fn told(spec: &JobSpec, lines: &str) -> Option<Job> {
    let values = lines.splitn(TOLD.len(), '\n').map(|line| Some(line.to_owned())).collect();
    let fields = Fields::of(&TOLD, values);
    let now = Now::among(&fields).ok()?;
    if (now.tenant, now.action) != (spec.tenant.as_str(), spec.action.as_str()) {
        return None;
    }
    let job = job_of(spec.clone(), &fields).ok()?;
    (job.state.is_terminal() && job.result.is_some()).then_some(job)
}

/// The job of a record.
pub(super) fn job(fields: &Fields) -> Result<Job, Unreadable> {
    job_of(spec(fields.text("spec").unwrap_or_default())?, fields)
}

/// The job of a record whose spec is known.
pub(super) fn job_of(spec: JobSpec, fields: &Fields) -> Result<Job, Unreadable> {
    let now = Now::among(fields)?;
    Ok(Job {
        spec,
        state: now.state,
        reason: now.reason,
        attempts: attempts(fields)?,
        cancel_requested: now.has('c'),
        next_run_at: now.next_run_at,
        result: fields.maybe("result", |text| Json::parse(text.to_owned()).ok())?,
        error: fields.maybe("error", |text| serde_json::from_str(text).ok())?,
        finished_at: now.finished_at,
        dead_letter: now.has('d'),
        last_seq: now.seq,
    })
}

/// The field `now`: what changes of a job, and what lists ask for. Scripts read and write it whole
/// (`scripts/parts/read.lua`, `save.lua`): a field of its own for each would cost more than what is done with it.
pub(super) struct Now<'a> {
    pub(super) state: JobState,
    reason: Option<Reason>,
    next_run_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    pub(super) seq: u64,
    pub(super) attempt: u32,
    flags: &'a str,
    at: Timestamp,
    pub(super) tenant: &'a str,
    pub(super) action: &'a str,
}

impl<'a> Now<'a> {
    /// It, of a record that must have it.
    pub(super) fn among(fields: &'a Fields) -> Result<Self, Unreadable> {
        fields.text("now").and_then(Self::of).ok_or_else(|| Unreadable::at("the field now"))
    }

    pub(super) fn of(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next();
        let (state, why) = (JobState::from_name(word()?)?, word()?);
        let (mut reason, mut next_run_at, mut finished_at) = (None, None, None);
        match state {
            JobState::Queued => reason = Some(Reason::from_name(why)?),
            JobState::Scheduled => {
                let (name, at) = why.split_once(':')?;
                (reason, next_run_at) = (Some(Reason::from_name(name)?), Some(instant(at)?));
            }
            JobState::Running => {}
            _ => finished_at = Some(instant(why)?),
        }
        let (seq, attempt) = (number(word()?)?, number(word()?)?);
        let [_appended, _crashes, _failures, flags, _deadline] =
            [word()?, word()?, word()?, word()?, word()?];
        let (at, tenant, action) = (instant(word()?)?, word()?, word()?);
        let now = Self { state, reason, next_run_at, finished_at, seq, attempt, flags, at, tenant, action };
        word().is_none().then_some(now)
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Whether its events are read.
    pub(super) fn is_followed(&self) -> bool {
        self.has('f')
    }

    /// Whether its events are in a list.
    pub(super) fn is_told(&self) -> bool {
        self.has('t')
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
    let recorded = Now::among(fields)?.at;
    let queued = state(recorded, 0, JobState::Queued, Some(Reason::AwaitingWorker));
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

    const RUNNING: &str = "running - 2 1 0 0 0 - 9 4 t a";

    fn fields(more: &[(&str, &str)]) -> Fields {
        let envelope: serde_json::Value = serde_json::from_str(SPEC).unwrap();
        let spec = envelope["jobs"][0].to_string();
        let base = [("spec", spec.as_str()), ("now", RUNNING)];
        let words = base.iter().chain(more).flat_map(|(name, value)| [*name, *value]);
        Fields::of_answer(std::iter::once("same").chain(words).map(str::to_owned).collect())
    }

    #[test]
    fn a_record_reads_back() {
        let error = r#"{"code":"worker_crashed","message":"a b"}"#;
        let crash = format!("6 crashed {error}");
        let record = [
            ("start:2", "7 gate w2"),
            ("start:1", "5 none w1"),
            ("end:1", &crash),
            ("now", "running - 2 2 0 1 0 cf 9 4 t a"),
        ];
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
    fn the_news_of_an_end_are_the_record_or_nothing() {
        const NOW: &str = "succeeded 6 3 1 0 0 0 - 9 4 default weather.get";
        const LINES: [&str; 4] = [NOW, "5 none w1", "6 succeeded ", "{\n \"n\" : 1.50 }"];
        let names_and_values: Vec<_> = TOLD.into_iter().zip(LINES).collect();
        let recorded = job(&fields(&names_and_values)).unwrap();
        assert_eq!(told(&recorded.spec, &LINES.join("\n")), Some(recorded.clone()));
        assert_eq!(told(&recorded.spec, "succeeded"), None);
        assert_eq!(told(&recorded.spec, &LINES[..3].join("\n")), None);
        let running = NOW.replace("succeeded 6", "running -");
        for now in [running, NOW.replace("default", "another"), NOW.replace("weather.get", "a")] {
            let [_, rest @ ..] = LINES;
            assert_eq!(
                told(&recorded.spec, &[&[now.as_str()], &rest[..]].concat().join("\n")),
                None,
                "{now}"
            );
        }
    }

    #[test]
    fn a_record_without_a_list_stands_for_its_events() {
        let implied = |record: &[(&str, &str)]| {
            let events = implied(&fields(record)).unwrap();
            let text = |event: Event| {
                let (kind, at, data) = (event.kind.as_str(), event.at.millis(), event.data);
                format!("{} {kind} {at} {} {}", event.seq, event.attempt, data.text())
            };
            events.into_iter().map(text).collect::<Vec<_>>()
        };
        let queued = r#"1 state 4 0 {"state":"queued","reason":"awaiting_worker"}"#;
        let running = r#"2 state 5 1 {"state":"running"}"#;
        let result = r#"3 result 6 1 {"state":"succeeded","result":{ "n" : 1.50 }}"#;
        assert_eq!(implied(&[("now", "queued awaiting_worker 1 0 0 0 0 - 9 4 t a")]), [queued]);
        assert_eq!(implied(&[("start:1", "5 none w1")]), [queued, running]);
        let ended = [
            ("now", "succeeded 6 3 1 0 0 0 - 9 4 t a"),
            ("start:1", "5 none w1"),
            ("end:1", "6 succeeded "),
            ("result", r#"{ "n" : 1.50 }"#),
        ];
        assert_eq!(implied(&ended), [queued, running, result]);
        let error = r#"{"code":"job_cancelled","message":"m"}"#;
        let cancelled = format!(r#"2 result 6 0 {{"state":"cancelled","error":{error}}}"#);
        assert_eq!(
            implied(&[("now", "cancelled 6 2 0 0 0 0 c 9 4 t a"), ("error", error)]),
            [queued, &cancelled]
        );
    }

    #[test]
    fn a_state_says_why_and_when() {
        let now = |state| {
            let text = format!("{state} 7 2 0 0 0 - 9 -4 t a");
            let now = Now::of(&text).unwrap();
            assert_eq!((now.seq, now.attempt, now.at.millis(), now.tenant, now.action), (7, 2, -4, "t", "a"));
            (now.state, now.reason, now.next_run_at, now.finished_at)
        };
        let at = Some(Timestamp::from_millis(5));
        assert_eq!(now("running -"), (JobState::Running, None, None, None));
        assert_eq!(now("queued worker_lost"), (JobState::Queued, Some(Reason::WorkerLost), None, None));
        assert_eq!(now("scheduled not_due:5"), (JobState::Scheduled, Some(Reason::NotDue), at, None));
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
            ("now", "asleep - 2 1 0 0 0 - 9 4 t a"),
            ("now", "running - -1 1 0 0 0 - 9 4 t a"),
            ("now", "queued - 2 1 0 0 0 - 9 4 t a"),
            ("now", "scheduled not_due:soon 2 1 0 0 0 - 9 4 t a"),
            ("now", "failed - 2 1 0 0 0 - 9 4 t a"),
            ("now", "running - 2 1 0 0 0 - 9 4 t"),
            ("now", "running - 2 1 0 0 0 - 9 4 t a b"),
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
