//! What doctor thinks of what it saw: pure functions, one for each area.

use backend_embedded::OpenError;
use protocol::time::Timestamp;
use sandbox::{Finding, Probe};
use worker::python::Isolation as Wanted;

use super::Level::{Info, Ok, Problem, Warning};
use super::probes::{Folder, Isolation, MasterKey, Port, RabbitFacts, RedisFacts, Refused, Seen, Server};
use super::{Check, Level};
use crate::interpreter::{self, MEND, Search};
use crate::master_key::Origin;
use crate::settings;

/// The oldest RabbitMQ: quorum queues honour a message's expiration since 3.10.
const RABBITMQ: (u32, u32) = (3, 10);
/// The oldest Redis that the backend is tested with.
const REDIS: (u32, u32) = (7, 0);
/// Clocks further apart than this make deadlines wrong: milliseconds.
const SKEW: u64 = 250;
/// 2025-01-01: a clock before this was never set.
const LONG_AGO: Timestamp = Timestamp::from_millis(1_735_689_600_000);

/// Judges everything, in the order in which a newcomer needs it.
pub(super) fn judge(seen: &Seen) -> Vec<Check> {
    let mut checks = settings(&seen.settings);
    checks.extend(python(&seen.python));
    checks.extend(data(&seen.data, seen.port.ours));
    checks.push(port(&seen.port));
    match (&seen.rabbitmq, &seen.redis) {
        (Some(rabbitmq_seen), Some(redis_seen)) => {
            checks.extend(rabbitmq(rabbitmq_seen));
            checks.extend(redis(redis_seen));
        }
        // The URLs are known only together with the rest.
        _ if !seen.settings.is_empty() => {
            checks.push(Check::new("servers", Info, "not looked at: mend the settings first"));
        }
        _ => checks.push(
            Check::new(
                "servers",
                Info,
                "no RabbitMQ and Redis are named: `sortie serve` uses its embedded store",
            )
            .mend("for many machines, set --amqp-url and --redis-url"),
        ),
    }
    checks.push(match &seen.master_key {
        Some(key) => secrets(key, seen.rabbitmq.is_some()),
        None => Check::new("secrets", Info, "not looked at: mend the settings first"),
    });
    checks.push(clock(seen.now));
    checks.extend(isolation(&seen.isolation));
    checks
}

fn settings(problems: &[settings::Problem]) -> Vec<Check> {
    if problems.is_empty() {
        return vec![Check::new("settings", Ok, "all settings can be used")];
    }
    problems
        .iter()
        .map(|problem| Check::new("settings", Problem, problem.to_string()).mend(problem.hint.clone()))
        .collect()
}

fn python(search: &Search) -> Vec<Check> {
    let Some(probe) = &search.found else {
        let finding = format!("no Python {} or newer: {}", interpreter::oldest(), search.complaint());
        return vec![Check::new("python", Problem, finding).mend(MEND)];
    };
    let Probe { executable, has_requests, .. } = probe;
    let finding = format!("Python {} at {}", interpreter::version(probe), executable.display());
    let requests = match has_requests {
        true => Check::new("requests", Ok, "handlers can import requests"),
        false => Check::new("requests", Warning, "handlers can't import requests")
            .mend("run `deploy/python/prepare DATA/python`, which installs it"),
    };
    vec![Check::new("python", Ok, finding), requests]
}

/// `served`: a Sortie answers where we would listen, so that the folder is its.
fn data(folder: &Folder, served: bool) -> Vec<Check> {
    let path = folder.path.display();
    if let Some(refused) = &folder.refused {
        let finding = format!("nothing can be written to {path} ({refused})");
        let mend = "mend its rights or make room, or name another folder with --data";
        return vec![Check::new("data", Problem, finding).mend(mend)];
    }
    let first = match folder.exists {
        true => format!("{path} can be written to"),
        false => format!("{path} will be made at the first start"),
    };
    let store = folder.store.as_ref().map(|opened| match opened {
        Result::Ok(()) => Check::new("store", Ok, "the embedded store opens, and nobody else has it"),
        Err(OpenError::InUse { .. }) if served => {
            Check::new("store", Ok, "the running Sortie has the embedded store")
        }
        Err(OpenError::InUse { .. }) => Check::new("store", Problem, format!("another process has {path}"))
            .mend("stop it, or name another folder with --data"),
        Err(error) => Check::new("store", Problem, format!("the embedded store can't be opened: {error}"))
            .mend("name another folder with --data, and keep this one: it holds jobs and actions"),
    });
    [Check::new("data", Ok, first)].into_iter().chain(store).collect()
}

fn port(port: &Port) -> Check {
    let address = &port.address;
    match (&port.taken, port.ours) {
        (None, _) => Check::new("listen", Ok, format!("{address} is free")),
        (Some(_), true) => Check::new("listen", Ok, format!("a Sortie answers at {address} already")),
        (Some(error), false) => Check::new("listen", Problem, format!("can't listen on {address}: {error}"))
            .mend("stop what uses it, or choose another with --listen"),
    }
}

fn rabbitmq(server: &Server<RabbitFacts>) -> Vec<Check> {
    const AREA: &str = "rabbitmq";
    let facts = match &server.answer {
        Result::Ok(facts) => facts,
        Err(refused) => {
            let rights =
                "give the user configure, write and read rights for names that begin with the prefix";
            return vec![unusable(AREA, &server.at, refused, "RabbitMQ", rights)];
        }
    };
    let at = &server.at;
    let version = match &facts.version {
        None => Check::new(AREA, Ok, format!("reached at {at}; publishing and declaring work")),
        Some(version) if older(version, RABBITMQ) => {
            Check::new(AREA, Problem, format!("version {version} at {at} is too old"))
                .mend("use RabbitMQ 3.10 to 4.x")
        }
        Some(version) => {
            Check::new(AREA, Ok, format!("version {version} at {at}; publishing and declaring work"))
        }
    };
    vec![version]
}

fn redis(server: &Server<RedisFacts>) -> Vec<Check> {
    const AREA: &str = "redis";
    let facts = match &server.answer {
        Result::Ok(facts) => facts,
        Err(refused) => {
            let rights = "allow the user to read, write, run scripts and use pub/sub on keys that begin with the prefix";
            return vec![unusable(AREA, &server.at, refused, "Redis", rights)];
        }
    };
    let at = &server.at;
    let version = facts.version.as_deref().unwrap_or("unknown");
    let first = match older(version, REDIS) {
        true => Check::new(AREA, Problem, format!("version {version} at {at} is too old"))
            .mend("use Redis 7 or 8, or Valkey"),
        false => Check::new(AREA, Ok, format!("version {version} at {at}; writing works")),
    };
    let append_only = facts.append_only.map(|on| match on {
        true => Check::new(AREA, Ok, "appendonly is on: a restart keeps what was answered"),
        false => Check::new(AREA, Warning, "appendonly is off: a restart loses jobs and results")
            .mend("CONFIG SET appendonly yes, and in its configuration file"),
    });
    let eviction = facts.eviction.as_deref().map(|policy| match policy {
        "noeviction" => {
            Check::new(AREA, Ok, "maxmemory-policy is noeviction: nothing vanishes when memory is full")
        }
        other => {
            Check::new(AREA, Problem, format!("maxmemory-policy is {other}: jobs vanish when memory is full"))
                .mend("CONFIG SET maxmemory-policy noeviction, and in its configuration file")
        }
    });
    let clock = facts.ahead.filter(|ahead| ahead.unsigned_abs() > SKEW).map(|ahead| {
        let (distance, side) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
        Check::new(
            AREA,
            Warning,
            format!("its clock is {distance} ms {side} this host's: deadlines are off by that"),
        )
        .mend("keep all clocks together (NTP)")
    });
    [Some(first), append_only, eviction, clock].into_iter().flatten().collect()
}

fn unusable(area: &'static str, at: &str, refused: &Refused, name: &str, rights: &str) -> Check {
    match refused {
        Refused::Away(why) => Check::new(area, Problem, format!("{name} can't be reached at {at}: {why}"))
            .mend(format!("start it, or correct the URL; `sortie serve` works without {name} too")),
        Refused::Denied(why) => Check::new(area, Problem, format!("{name} at {at} refuses us: {why}"))
            .mend(format!("correct user and password in the URL; {rights}")),
    }
}

/// `shared`: the installation has dispatchers and workers of its own, which must all have the same key.
fn secrets(key: &MasterKey, shared: bool) -> Check {
    const AREA: &str = "secrets";
    let at = match &key.origin {
        Origin::Setting => "set from outside".to_owned(),
        Origin::File(path) | Origin::Own(path) => format!("in {}", path.display()),
        Origin::Nowhere => "nowhere".to_owned(),
    };
    let ids = match &key.ids {
        Result::Ok(ids) => ids,
        Err(why) => {
            return Check::new(AREA, Problem, format!("the master key can't be used: {why}")).mend(
                "put the key back that secrets were sealed with; where there are none yet, make one: \
                 (umask 077; openssl rand -base64 32 > FILE), and name it with --master-key-file",
            );
        }
    };
    let finding = match ids.split_first() {
        None => format!("no master key yet: `sortie serve` makes one at its first start, {at}"),
        Some((first, [])) => format!("master key {first}, {at}, seals and opens secrets"),
        Some((first, older)) => {
            format!("master key {first}, {at}, seals and opens secrets; still opened: {}", older.join(", "))
        }
    };
    match (&key.origin, shared) {
        (Origin::Own(_), true) => {
            let finding = format!("{finding}; `sortie dispatcher` and `sortie worker` don't read it there");
            Check::new(AREA, Warning, finding).mend(
                "give all of them the same one: SORTIE_MASTER_KEY or --master-key-file, made once with \
                 openssl rand -base64 32",
            )
        }
        _ => Check::new(AREA, Ok, finding),
    }
}

fn clock(now: Timestamp) -> Check {
    match now < LONG_AGO {
        true => Check::new("clock", Problem, format!("it is {now} here")).mend("set the clock (NTP)"),
        false => Check::new("clock", Ok, format!("it is {now} here")),
    }
}

const ISOLATION: &str = "isolation";

/// Each piece of the sandbox, and what bounds a slot.
fn isolation(seen: &Isolation) -> Vec<Check> {
    let lacking = match seen.wanted {
        Wanted::Required => Problem,
        Wanted::BestEffort => Warning,
        Wanted::None => Info,
    };
    let mut checks = match &seen.findings {
        Result::Ok(findings) => findings.iter().map(|finding| piece(finding, lacking)).collect(),
        Err(error) => {
            vec![
                Check::new(ISOLATION, lacking, error.clone())
                    .mend("run doctor as the user that runs the worker"),
            ]
        }
    };
    checks.push(match &seen.groups {
        Result::Ok(bounds) => Check::new(ISOLATION, Ok, format!("control groups bound {bounds} of a slot")),
        Err(why) => Check::new(
            ISOLATION,
            Info,
            format!("memory, processes and CPU of a slot are bounded by rlimits and the worker's watch; no control groups: {why}"),
        )
        .mend("to have the kernel bound each slot as a whole, give the worker a cgroup of its own (systemd: Delegate=yes)"),
    });
    checks
}

fn piece(finding: &Finding, lacking: Level) -> Check {
    let name = finding.piece.name();
    match &finding.problem {
        None => Check::new(ISOLATION, Ok, name),
        Some(problem) => {
            let check = Check::new(ISOLATION, lacking, format!("{name}: missing ({problem})"));
            if finding.follows() { check } else { check.mend(finding.piece.mend()) }
        }
    }
}

/// True if a version begins with numbers below these two. What isn't a version is not called old.
fn older(version: &str, oldest: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < oldest,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
