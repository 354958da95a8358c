//! The Lua scripts of the store: each is a table of constants, the prelude that all share, and its own file.
//!
//! The texts of events and errors come from `protocol::lifecycle`, so that every backend writes the same.

use std::fmt::Write;

use protocol::deadline;
use protocol::isolation::Isolation;
use protocol::job::Reason;
use protocol::lifecycle::{End, UNKNOWN_WORKER, state_event_data, worker_lost};
use protocol::ports::StoreOptions;
use protocol::state::JobState;
use redis::Script;

use super::millis;
use crate::fields::{json, quoted};
use crate::keys::Keys;

/// One script per change.
pub(super) struct Scripts {
    pub(super) create: Script,
    pub(super) restore: Script,
    pub(super) published: Script,
    pub(super) claim: Script,
    pub(super) renew: Script,
    pub(super) append: Script,
    pub(super) finish: Script,
    pub(super) cancel: Script,
    pub(super) outbox: Script,
    pub(super) due: Script,
    pub(super) reap: Script,
    pub(super) expire: Script,
    pub(super) reply: Script,
    pub(super) remove: Script,
}

impl Scripts {
    pub(super) fn new(keys: &Keys, options: &StoreOptions) -> Self {
        let constants = constants(keys, options);
        let script = |own: &str| {
            Script::new(&format!("{constants}{}{own}", include_str!("../../scripts/prelude.lua")))
        };
        Self {
            create: script(include_str!("../../scripts/create.lua")),
            restore: script(include_str!("../../scripts/restore.lua")),
            // Not about one job: without the prelude.
            published: Script::new(include_str!("../../scripts/published.lua")),
            claim: script(include_str!("../../scripts/claim.lua")),
            renew: script(include_str!("../../scripts/renew.lua")),
            append: script(include_str!("../../scripts/append.lua")),
            finish: script(include_str!("../../scripts/finish.lua")),
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

/// The Lua table `CONST`: what is the same for every job of an installation.
fn constants(keys: &Keys, options: &StoreOptions) -> String {
    let numbers = [
        ("lease", millis(options.lease)),
        ("retention", millis(options.retention)),
        ("grace", millis(deadline::GRACE)),
        ("crashes", options.crashes.to_string()),
    ];
    let event = |state, reason| state_event_data(state, reason).text().to_owned();
    let (cancelled, given_up) = (End::cancelled(), End::given_up(options.crashes));
    let texts = [
        ("wake", keys.wake()),
        ("cancel", keys.cancel()),
        ("unknown_worker", UNKNOWN_WORKER.to_owned()),
        ("unknown_isolation", Isolation::None.as_str().to_owned()),
        ("queued_event", event(JobState::Queued, Some(Reason::AwaitingWorker))),
        ("not_due_event", event(JobState::Scheduled, Some(Reason::NotDue))),
        ("running_event", event(JobState::Running, None)),
        ("worker_lost_event", event(JobState::Queued, Some(Reason::WorkerLost))),
        ("crash_error", json(&worker_lost())),
        ("cancelled_error", json(&cancelled.error)),
        ("cancelled_event", cancelled.event_data().text().to_owned()),
        ("given_up_error", json(&given_up.error)),
        ("given_up_event", given_up.event_data().text().to_owned()),
    ];
    let mut table = String::from("local CONST = {\n");
    for (name, number) in numbers {
        // Writing to a string can't fail.
        let _ = writeln!(table, "    {name} = {number},");
    }
    for (name, text) in texts {
        let _ = writeln!(table, "    {name} = {},", quoted(&text));
    }
    table.push_str("}\n");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_one_table() {
        let table = constants(&Keys::new("s"), &StoreOptions::default());
        assert!(table.contains("    lease = 1500,\n"));
        assert!(table.contains("    wake = 's:wake',\n"));
        assert!(table.contains(r#"running_event = '{"state":"running"}'"#));
    }
}
