//! The rights that README.md says we need are enough, and a login that was wrong and is put right works.

use conformance::unique;
use protocol::isolation::Isolation;
use protocol::outcome::Outcome;
use protocol::ports::{Kind, Retry};

use crate::{backend, clean, job, new, raw, until, url, worker};

/// The line of README.md, for this prefix.
fn rights(prefix: &str) -> Vec<String> {
    let line = include_str!("../../README.md").lines().find(|line| line.trim().starts_with("`+@read"));
    let line = line
        .expect("README.md has the line")
        .trim()
        .trim_matches('`')
        .replace("sortie:", &format!("{prefix}:"));
    line.split(' ').map(str::to_owned).collect()
}

async fn set_user(name: &str, rules: &[String]) {
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg(name).arg("reset").arg("on").arg(rules);
    set.exec_async(&mut raw().await).await.unwrap();
}

#[tokio::test]
async fn a_wrong_login_is_denied_and_the_rights_in_the_readme_are_enough() {
    let prefix = unique();
    let rules = |password: &str| [vec![format!(">{password}")], rights(&prefix)].concat();
    set_user(&prefix, &rules("old")).await;
    let address = url().replace("redis://", &format!("redis://{prefix}:new@"));
    let backend = backend(&address, &prefix);
    let (store, registry, spec) = (backend.store(), backend.registry(), job());

    let error = store.ping().await.unwrap_err();
    assert_eq!((error.kind, error.retry()), (Kind::Denied, Retry::Never), "{error:?}");
    set_user(&prefix, &rules("new")).await;
    until("the login works", || async { store.ping().await.ok() }).await;

    registry.ping().await.unwrap();
    let mut watch = store.watch(spec.id);
    let mut cancels = store.watch_cancel(spec.id);
    watch.changed().await;
    cancels.changed().await;
    store.create(new(&spec)).await.unwrap();
    store.claim(&spec, &worker(), Isolation::None).await.unwrap();
    store.cancel(&spec.tenant, spec.id).await.unwrap();
    watch.changed().await;
    cancels.changed().await;
    let verdict = protocol::outcome::Verdict::Cancel;
    let finish = protocol::ports::Finish {
        outcome: Outcome::Cancelled,
        verdict,
        took: Default::default(),
        last: Default::default(),
    };
    store.finish(&spec, 1, &finish).await.unwrap();
    store.outbox(std::time::Duration::ZERO, 1).await.unwrap();
    store.remove_old(1).await.unwrap();
    store.events(&spec.tenant, spec.id, 0, 10).await.unwrap().unwrap();
    store.list(&spec.tenant, &protocol::ports::JobFilter { limit: 1, ..Default::default() }).await.unwrap();

    drop((backend, store, registry));
    redis::cmd("ACL").arg("DELUSER").arg(&prefix).exec_async(&mut raw().await).await.unwrap();
    clean(&prefix).await;
}
