//! The Lua scripts of the store. A script is put together of what its text names: constants, keys, functions of
//! `scripts/parts/`, and its own file. So it makes on each call only what it needs, and declares the keys that it uses.
//!
//! The texts of events and errors come from `protocol::lifecycle`, so that every backend writes the same.

use std::collections::VecDeque;

use protocol::deadline;
use protocol::isolation::Isolation;
use protocol::job::Reason;
use protocol::lifecycle::{End, UNKNOWN_WORKER, state_event_data, worker_lost};
use protocol::ports::StoreOptions;
use protocol::state::JobState;
use redis::Script;

use super::millis;
use crate::fields::{json, quoted};
use crate::keys::{Index, JobKey, KEPT, Keys};

/// What every job script starts with.
const BASE: &str = include_str!("../../scripts/parts/base.lua");

/// The plain case of a script, for several jobs.
const SEVERAL: &str = include_str!("../../scripts/several.lua");

/// The longest result, in bytes, that the news of an end has: every dispatcher hears it, and one waits for it, if any.
const TOLD: usize = 512;

/// Functions that scripts share, by name; each may call those before it.
const PARTS: [(&str, &str); 21] = [
    ("read", include_str!("../../scripts/parts/read.lua")),
    ("mark", include_str!("../../scripts/parts/mark.lua")),
    ("save", include_str!("../../scripts/parts/save.lua")),
    ("unfold", include_str!("../../scripts/parts/unfold.lua")),
    ("open_list", include_str!("../../scripts/parts/open_list.lua")),
    ("tell", include_str!("../../scripts/parts/tell.lua")),
    ("over", include_str!("../../scripts/parts/over.lua")),
    ("lease", include_str!("../../scripts/parts/lease.lua")),
    ("refusal", include_str!("../../scripts/parts/refusal.lua")),
    ("add_batch", include_str!("../../scripts/parts/add_batch.lua")),
    ("record", include_str!("../../scripts/parts/record.lua")),
    ("queue", include_str!("../../scripts/parts/queue.lua")),
    ("schedule", include_str!("../../scripts/parts/schedule.lua")),
    ("start", include_str!("../../scripts/parts/start.lua")),
    ("ended", include_str!("../../scripts/parts/ended.lua")),
    ("leave", include_str!("../../scripts/parts/leave.lua")),
    ("end_job", include_str!("../../scripts/parts/end_job.lua")),
    ("expire", include_str!("../../scripts/parts/expire.lua")),
    ("give_up", include_str!("../../scripts/parts/give_up.lua")),
    ("cancel", include_str!("../../scripts/parts/cancel.lua")),
    ("lapse", include_str!("../../scripts/parts/lapse.lua")),
];

/// A script about one job.
pub(super) struct JobScript {
    pub(super) script: Script,
    /// The keys that it declares, in its order.
    pub(super) keys: Vec<JobKey>,
}

/// A script that nearly every job comes by, and whose plain case is a text of its own.
pub(super) struct PlainScript {
    /// The plain case, and behind it all others. What is plain returns before the parts: a call makes only the functions that
    /// it comes by.
    pub(super) whole: JobScript,
    /// The plain case for several jobs of a shard.
    pub(super) several: Script,
    /// The indexes that `several` declares, in its order; the record of each job follows.
    pub(super) indexes: Vec<Index>,
}

/// One script per change.
pub(super) struct Scripts {
    pub(super) create: PlainScript,
    pub(super) restore: JobScript,
    pub(super) published: Script,
    pub(super) claim: PlainScript,
    pub(super) settle: JobScript,
    pub(super) renew: JobScript,
    pub(super) append: JobScript,
    pub(super) follow: JobScript,
    pub(super) finish: PlainScript,
    /// The same with last events: that is never plain.
    pub(super) finish_with_events: JobScript,
    pub(super) hand_back: JobScript,
    pub(super) cancel: JobScript,
    pub(super) outbox: JobScript,
    pub(super) due: JobScript,
    pub(super) reap: JobScript,
    pub(super) expire: JobScript,
    pub(super) reply: JobScript,
    pub(super) remove: JobScript,
}

impl Scripts {
    pub(super) fn new(keys: &Keys, options: &StoreOptions) -> Self {
        let constants = constants(keys, options);
        let script = |own: &str| JobScript::new(&constants, "", own);
        let plain = |plain: &str, own: &str| PlainScript::new(&constants, plain, own);
        let finish = include_str!("../../scripts/finish.lua");
        Self {
            create: plain(
                include_str!("../../scripts/plain/create.lua"),
                include_str!("../../scripts/create.lua"),
            ),
            restore: script(include_str!("../../scripts/restore.lua")),
            // Not about one job: all its own.
            published: Script::new(include_str!("../../scripts/published.lua")),
            claim: plain(
                include_str!("../../scripts/plain/claim.lua"),
                include_str!("../../scripts/claim.lua"),
            ),
            settle: script(include_str!("../../scripts/settle.lua")),
            renew: script(include_str!("../../scripts/renew.lua")),
            append: script(include_str!("../../scripts/append.lua")),
            follow: script(include_str!("../../scripts/follow.lua")),
            finish: plain(include_str!("../../scripts/plain/finish.lua"), finish),
            finish_with_events: script(finish),
            hand_back: script(include_str!("../../scripts/hand_back.lua")),
            cancel: script(include_str!("../../scripts/cancel.lua")),
            outbox: script(include_str!("../../scripts/outbox.lua")),
            due: script(include_str!("../../scripts/due.lua")),
            reap: script(include_str!("../../scripts/reap.lua")),
            expire: script(include_str!("../../scripts/expire.lua")),
            reply: script(include_str!("../../scripts/reply.lua")),
            remove: script(include_str!("../../scripts/remove.lua")),
        }
    }
}

impl PlainScript {
    fn new(constants: &[(&str, String)], plain: &str, own: &str) -> Self {
        let keys: Vec<_> = JobKey::ALL.into_iter().filter(|(name, _)| names(plain, name)).collect();
        let mut indexes = Vec::new();
        let mut header = String::new();
        for (name, key) in keys {
            if let JobKey::Index(index) = key {
                indexes.push(index);
                header.push_str(&format!("local {name} = KEYS[{}]\n", indexes.len()));
            }
        }
        header.push_str(&format!("local INDEXES = {}\n", indexes.len()));
        let plain_of_one = plain.replace("ARGV[", "ARGV[at + ");
        let texts = [BASE, &SEVERAL.replace("\nPLAIN\n", &format!("\n{plain_of_one}\n"))];
        let several = [named(constants, &texts), header, texts.concat()].concat();
        Self { whole: JobScript::new(constants, plain, own), several: Script::new(&several), indexes }
    }
}

impl JobScript {
    /// Puts in front of a script's own text what it names.
    fn new(constants: &[(&str, String)], plain: &str, own: &str) -> Self {
        let mut texts = VecDeque::from([own]);
        for (name, part) in PARTS.iter().rev() {
            if texts.iter().any(|text| names(text, &format!("{name}("))) {
                texts.push_front(part);
            }
        }
        texts.push_front(plain);
        texts.push_front(BASE);
        let texts = texts.make_contiguous();
        let keys: Vec<_> =
            JobKey::ALL.into_iter().filter(|(name, _)| texts.iter().any(|text| names(text, name))).collect();
        let mut header = named(constants, texts);
        for (place, (name, _)) in (1..).zip(&keys) {
            header.push_str(&format!("local {name} = KEYS[{place}]\n"));
        }
        header.push_str("local ID = ARGV[1]\n");
        let script = Script::new(&[header, texts.concat()].concat());
        Self { script, keys: keys.into_iter().map(|(_, key)| key).collect() }
    }
}

/// The constants that the texts name, each as a local.
fn named(constants: &[(&str, String)], texts: &[&str]) -> String {
    let named = constants.iter().filter(|(name, _)| texts.iter().any(|text| names(text, name)));
    named.map(|(name, value)| format!("local {name} = {value}\n")).collect()
}

/// Whether the Lua text has this name, or this call (a name with its bracket). Comments count too: what they name comes
/// along needlessly, and does no harm.
fn names(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(word) && (name.ends_with('(') || !after.starts_with(word))
    })
}

/// What is the same for every job of an installation: names and values in Lua.
fn constants(keys: &Keys, options: &StoreOptions) -> Vec<(&'static str, String)> {
    let event = |state, reason| state_event_data(state, reason).text().to_owned();
    let (cancelled, given_up) = (End::cancelled(), End::given_up(options.crashes));
    vec![
        ("LEASE", millis(options.lease)),
        ("RETENTION", millis(options.retention)),
        ("GRACE", millis(deadline::GRACE)),
        ("KEPT", KEPT.to_string()),
        ("TOLD", TOLD.to_string()),
        ("CRASHES", options.crashes.to_string()),
        ("WAKE", quoted(&keys.wake())),
        ("CANCEL", quoted(&keys.cancel())),
        ("UNKNOWN_WORKER", quoted(UNKNOWN_WORKER)),
        ("UNKNOWN_ISOLATION", quoted(Isolation::None.as_str())),
        ("QUEUED_EVENT", quoted(&event(JobState::Queued, Some(Reason::AwaitingWorker)))),
        ("NOT_DUE_EVENT", quoted(&event(JobState::Scheduled, Some(Reason::NotDue)))),
        ("RUNNING_EVENT", quoted(&event(JobState::Running, None))),
        ("WORKER_LOST_EVENT", quoted(&event(JobState::Queued, Some(Reason::WorkerLost)))),
        ("CRASH_ERROR", quoted(&json(&worker_lost()))),
        ("CANCELLED_ERROR", quoted(&json(&cancelled.error))),
        ("GIVEN_UP_ERROR", quoted(&json(&given_up.error))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(own: &str) -> JobScript {
        JobScript::new(&constants(&Keys::new("s"), &StoreOptions::default()), "", own)
    }

    #[test]
    fn a_script_has_what_it_names_and_no_more() {
        let scripts = Scripts::new(&Keys::new("s"), &StoreOptions::default());
        let leases = JobKey::Index(Index::Leases);
        assert_eq!(scripts.claim.whole.keys, [JobKey::Job, JobKey::Events, leases]);
        assert_eq!(scripts.claim.indexes, [Index::Leases]);
        assert_eq!(scripts.renew.keys, [JobKey::Job, leases]);
        assert_eq!(script("return JOBS .. OUTBOXES").keys, [JobKey::Index(Index::Jobs)]);
        // What a part calls comes along, before it.
        let keys = script("give_up(read())").keys;
        assert!(keys.contains(&JobKey::Index(Index::Dead)) && keys.contains(&leases), "{keys:?}");
    }

    #[test]
    fn constants_are_lua() {
        let constants = constants(&Keys::new("s"), &StoreOptions::default());
        for constant in
            [("LEASE", "1500"), ("WAKE", "'s:wake'"), ("RUNNING_EVENT", r#"'{"state":"running"}'"#)]
        {
            assert!(
                constants.iter().any(|(name, value)| (*name, value.as_str()) == constant),
                "{constant:?}"
            );
        }
    }

    #[test]
    fn a_name_is_a_whole_word() {
        assert!(names("a(JOB)", "JOB") && names("x lease() y", "lease(") && names("lease(a", "lease("));
        assert!(!names("JOBS MY_JOB", "JOB") && !names("release() lease", "lease("));
    }
}
