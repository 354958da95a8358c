//! The rules of settings: what is refused, with which words, and all at once.

use super::super::source::{Origin, layers};
use super::*;
use crate::cli::Server;

fn host() -> Host {
    Host { processors: 4, data: Some("/home/me/sortie".into()), has_admin_key: false }
}

/// Checks what these arguments say on a host without anything.
fn with(role: Role, arguments: &[&str]) -> Result<Settings, String> {
    let command = <Server as clap::Args>::augment_args(clap::Command::new("test"));
    let matches = command.get_matches_from([&["test"], arguments].concat());
    let mut layers = layers(&matches, &mut Vec::new());
    // The environment of whoever runs the tests is no part of them.
    layers.retain(|_, text| !matches!(text.origin, Origin::Environment(_)));
    check(role, &layers, &host())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn nothing_needs_to_be_set() {
    let settings = with(Role::Serve, &[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:7300");
    assert_eq!(settings.slots, 4);
    assert_eq!(settings.data, PathBuf::from("/home/me/sortie"));
    assert_eq!(settings.lanes.len(), 1);
    assert_eq!(settings.lease, Duration::from_millis(1_500));
    assert_eq!(settings.retention, protocol::limits::RETENTION);
    assert_eq!(settings.deadline_ceiling, protocol::limits::DEADLINE_CEILING);
    assert!(settings.servers.is_none() && settings.python.is_none());
    assert_eq!(settings.queues, Queues::Quorum);
    // Whoever wants less must say so.
    assert_eq!(settings.isolation, Isolation::Required);
}

#[test]
fn all_problems_come_at_once_with_their_origin() {
    let text = with(
        Role::Serve,
        &["--listen", "here", "--slots", "0", "--lanes", "a,B", "--lease-ms", "1", "--sync", "half"],
    )
    .unwrap_err();
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.contains(r#"listen = "here" (flag --listen): is not an address"#), "{text}");
    assert!(text.contains(r#"lanes = "a,B" (flag --lanes): a lane must be"#), "{text}");
}

#[test]
fn servers_come_in_pairs_and_other_roles_need_them() {
    let amqp = ["--amqp-url", "amqp://u:secret@h/"];
    let both = [&amqp[..], &["--redis-url", "redis://h/"]].concat();
    assert!(with(Role::Serve, &amqp).unwrap_err().starts_with("redis_url: is not set, but"));
    assert!(with(Role::Serve, &both).unwrap().servers.is_some());
    assert_eq!(with(Role::Worker, &[]).unwrap_err().lines().count(), 2);
    assert_eq!(with(Role::Worker, &both).unwrap().listen.port(), 7301);
}

#[test]
fn an_open_address_needs_a_key() {
    let open = ["--listen", "0.0.0.0:7300"];
    assert!(with(Role::Serve, &open).unwrap_err().contains("open to other machines"));
    let key = [&open[..], &["--admin-key", "sk_0123456789abcdef0123456789"]].concat();
    assert!(with(Role::Serve, &key).is_ok());
    let layers =
        Layers::from([("listen".to_owned(), Text { text: "[::]:7300".into(), origin: Origin::Default })]);
    let without = check(Role::Serve, &layers, &host()).unwrap_err();
    assert!(without.iter().any(|problem| problem.message.contains("open to other machines")));
    let with_file = check(Role::Serve, &layers, &Host { has_admin_key: true, ..host() });
    let problems = with_file.err().unwrap_or_default();
    assert!(!problems.iter().any(|problem| problem.message.contains("open to other machines")));
}

#[test]
fn master_keys_are_read_and_come_from_one_place() {
    let (one, two) =
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "//////////////////////////////////////////8=");
    let both = format!("{one},{two}");
    let settings = with(Role::Serve, &["--master-key", &both]).unwrap();
    assert_eq!(settings.master_key.unwrap().ids().count(), 2);
    assert!(!format!("{:?}", with(Role::Serve, &["--master-key", one]).unwrap()).contains("AAEC"));
    let settings = with(Role::Serve, &["--master-key-file", "/run/secrets/master"]).unwrap();
    assert_eq!(settings.master_key_file, Some(PathBuf::from("/run/secrets/master")));
    let text = with(Role::Serve, &["--master-key", one, "--master-key-file", "/x"]).unwrap_err();
    assert!(text.contains("set together"), "{text}");
}

#[test]
fn secrets_are_never_shown() {
    let text = with(
        Role::Serve,
        &[
            "--amqp-url",
            "http://u:hunter2@h/",
            "--redis-url",
            "hunter2",
            "--admin-key",
            "hunter2",
            "--master-key",
            "hunter2",
        ],
    )
    .unwrap_err();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let settings =
        with(Role::Serve, &["--amqp-url", "amqp://u:hunter2@h/", "--redis-url", "redis://:hunter2@h/"]);
    assert!(!format!("{:?}", settings.unwrap()).contains("hunter2"));
}

#[test]
fn queues_are_of_two_kinds() {
    assert_eq!(with(Role::Serve, &["--queues", "classic"]).unwrap().queues, Queues::Classic);
    let wrong = with(Role::Serve, &["--queues", "stream"]).unwrap_err();
    assert_eq!(wrong, r#"queues = "stream" (flag --queues): is neither"#);
}

#[test]
fn isolation_has_three_levels() {
    for (text, level) in
        [("required", Isolation::Required), ("best-effort", Isolation::BestEffort), ("none", Isolation::None)]
    {
        assert_eq!(with(Role::Serve, &["--isolation", text]).unwrap().isolation, level);
    }
    let wrong = with(Role::Serve, &["--isolation", "some"]).unwrap_err();
    assert_eq!(wrong, r#"isolation = "some" (flag --isolation): is none of the three"#);
}

#[test]
fn a_log_filter_must_be_one() {
    assert!(with(Role::Serve, &["--log", "info,worker=debug"]).is_ok());
    assert!(with(Role::Serve, &["--log", "worker=loud"]).unwrap_err().starts_with("log = "));
}
