//! What doctor says of hosts and servers that are well, poor or missing.

use std::io;
use std::path::PathBuf;

use super::*;

fn levels(checks: &[Check]) -> Vec<Level> {
    checks.iter().map(|check| check.level).collect()
}

/// Whatever is wrong says how to mend it.
fn mendable(checks: &[Check]) {
    for check in checks.iter().filter(|check| matches!(check.level, Warning | Problem)) {
        assert!(check.mend.is_some(), "{check:?}");
    }
}

#[test]
fn without_a_python_nothing_can_run() {
    let checks = python(&Search::default());
    assert_eq!(levels(&checks), [Problem]);
    mendable(&checks);
    let probe =
        Probe { executable: "/py".into(), version: (3, 12, 4), prefixes: Vec::new(), has_requests: false };
    let checks = python(&Search { found: Some(probe), refused: Vec::new() });
    assert_eq!(levels(&checks), [Ok, Warning]);
    assert_eq!(checks[0].finding, "Python 3.12.4 at /py");
    mendable(&checks);
}

#[test]
fn a_folder_must_be_writable_and_free() {
    let folder = |refused: Option<&str>, store| Folder {
        path: PathBuf::from("/d"),
        exists: true,
        refused: refused.map(str::to_owned),
        store,
    };
    let taken = || Some(Err(OpenError::InUse { dir: "/d".into() }));
    assert_eq!(levels(&data(&folder(None, None), false)), [Ok]);
    assert_eq!(levels(&data(&folder(None, Some(Result::Ok(()))), false)), [Ok, Ok]);
    assert_eq!(levels(&data(&folder(None, taken()), false)), [Ok, Problem]);
    assert_eq!(levels(&data(&folder(None, taken()), true)), [Ok, Ok]);
    assert_eq!(levels(&data(&folder(Some("read-only"), None), false)), [Problem]);
}

#[test]
fn a_port_may_be_taken_by_ourselves() {
    let taken =
        |ours| Port { address: "a:1".into(), taken: Some(io::Error::from(io::ErrorKind::AddrInUse)), ours };
    assert_eq!(port(&taken(true)).level, Ok);
    assert_eq!(port(&taken(false)).level, Problem);
    assert_eq!(port(&Port { address: "a:1".into(), taken: None, ours: false }).level, Ok);
}

#[test]
fn rabbitmq_is_away_denied_too_old_or_well() {
    let seen = |answer| rabbitmq(&Server { at: "h:1".into(), answer });
    let version = |text: &str| Result::Ok(RabbitFacts { version: Some(text.into()) });
    assert_eq!(levels(&seen(Err(Refused::Away("refused".into())))), [Problem]);
    assert_eq!(levels(&seen(Err(Refused::Denied("403".into())))), [Problem]);
    assert_eq!(levels(&seen(version("3.9.13"))), [Problem]);
    for good in ["3.10.8", "4.3.0", "4.0.0-rc.1"] {
        assert_eq!(levels(&seen(version(good))), [Ok], "{good}");
    }
    mendable(&seen(Err(Refused::Denied("403".into()))));
}

#[test]
fn redis_must_keep_what_it_was_given() {
    let seen = |facts| redis(&Server { at: "h:1".into(), answer: Result::Ok(facts) });
    let good = || RedisFacts {
        version: Some("7.0.15".into()),
        append_only: Some(true),
        eviction: Some("noeviction".into()),
        ahead: Some(3),
    };
    assert_eq!(levels(&seen(good())), [Ok, Ok, Ok]);
    let poor = RedisFacts {
        version: Some("6.2.1".into()),
        append_only: Some(false),
        eviction: Some("allkeys-lru".into()),
        ahead: Some(-5_000),
    };
    let checks = seen(poor);
    assert_eq!(levels(&checks), [Problem, Warning, Problem, Warning]);
    assert!(checks[3].finding.contains("5000 ms behind"), "{:?}", checks[3]);
    mendable(&checks);
    // A user who may not see these is not told that they are wrong.
    assert_eq!(levels(&seen(RedisFacts { version: Some("8.0.1".into()), ..RedisFacts::default() })), [Ok]);
}

#[test]
fn a_clock_that_was_never_set_is_a_problem() {
    assert_eq!(clock(Timestamp::from_millis(0)).level, Problem);
    assert_eq!(clock(Timestamp::now()).level, Ok);
}

#[test]
fn a_missing_piece_is_as_bad_as_the_settings_make_it() {
    let findings = |problem: Option<&str>| {
        let piece = sandbox::Piece::Network;
        Result::Ok(vec![Finding { piece, problem: problem.map(str::to_owned) }])
    };
    let seen = |wanted, findings| isolation(&Isolation { wanted, findings, groups: Result::Ok("memory") });
    for (wanted, level) in [(Wanted::Required, Problem), (Wanted::BestEffort, Warning), (Wanted::None, Info)]
    {
        assert_eq!(levels(&seen(wanted, findings(None))), [Ok, Ok]);
        let checks = seen(wanted, findings(Some("No space left on device")));
        assert_eq!(levels(&checks), [level, Ok]);
        assert_eq!(checks[0].finding, "network namespaces: missing (No space left on device)");
        assert!(checks[0].mend.as_ref().unwrap().contains("user.max_net_namespaces"));
        mendable(&seen(wanted, Err("the helper can't be started".into())));
    }
}

#[test]
fn without_control_groups_it_says_what_bounds_a_slot() {
    let groups = Err("the host has no cgroups of version 2".to_owned());
    let checks = isolation(&Isolation { wanted: Wanted::Required, findings: Result::Ok(Vec::new()), groups });
    assert_eq!(levels(&checks), [Info]);
    assert!(checks[0].finding.contains("bounded by rlimits"), "{}", checks[0].finding);
}

#[test]
fn a_master_key_is_told_by_its_id_and_where_it_is() {
    let seen = |origin: Origin, ids: &[&str], shared| {
        let ids = Result::Ok(ids.iter().map(|id| (*id).to_owned()).collect());
        secrets(&MasterKey { origin, ids }, shared)
    };
    let own = || Origin::Own("/d/master.key".into());
    let check = seen(own(), &["aa"], false);
    assert_eq!((check.level, check.finding.contains("aa, in /d/master.key")), (Ok, true), "{check:?}");
    let check = seen(own(), &[], false);
    assert_eq!((check.level, check.finding.contains("no master key yet")), (Ok, true), "{check:?}");
    let check = seen(Origin::Setting, &["bb", "aa"], true);
    assert_eq!((check.level, check.finding.contains("still opened: aa")), (Ok, true), "{check:?}");
    let alone = seen(own(), &["aa"], true);
    assert_eq!(alone.level, Warning);
    let refused = MasterKey { origin: Origin::File("/k".into()), ids: Err("/k is not there".into()) };
    let missing = secrets(&refused, false);
    assert_eq!(missing.level, Problem);
    mendable(&[alone, missing]);
}
