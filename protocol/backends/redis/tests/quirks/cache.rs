//! Actions and keys are kept in a process only for as long as it hears of every change.

use protocol::id::{ActionName, TenantId};
use protocol::ports::Registry;

use crate::proxy::{Mode, Proxy};
use crate::{backend, clean, raw, until, url};

/// Whether the action is enabled, as `registry` says.
async fn enabled(registry: &dyn Registry, name: &ActionName) -> bool {
    registry.action(&TenantId::standard(), name).await.unwrap().unwrap().enabled
}

/// Flips the switch in the server without telling anybody.
async fn flip(prefix: &str, name: &ActionName, to: u8) {
    let key = format!("{prefix}:{{t:default}}:action:{name}");
    redis::cmd("HSET").arg(key).arg("enabled").arg(to).exec_async(&mut raw().await).await.unwrap();
}

/// Whether a switch that is flipped behind its back is not seen.
async fn is_kept(registry: &dyn Registry, prefix: &str, name: &ActionName) -> bool {
    let before = enabled(registry, name).await;
    flip(prefix, name, u8::from(!before)).await;
    let kept = enabled(registry, name).await == before;
    flip(prefix, name, u8::from(before)).await;
    kept
}

#[tokio::test]
async fn what_is_kept_is_forgotten_when_it_changes_elsewhere_or_nothing_is_heard_any_more() {
    let prefix = conformance::unique();
    let proxy = Proxy::start(Mode::Open).await;
    let (here, elsewhere) = (backend(&proxy.url(), &prefix).registry(), backend(&url(), &prefix).registry());
    let (tenant, name) = (TenantId::standard(), ActionName::new("a.b").unwrap());
    here.publish(&tenant, &name, &conformance::sample::content("x"), None).await.unwrap();

    // Until the subscription is there, nothing is kept.
    until("it is kept", async || is_kept(&*here, &prefix, &name).await.then_some(())).await;
    elsewhere.set_enabled(&tenant, &name, false).await.unwrap();
    until("the change elsewhere is heard of", async || (!enabled(&*here, &name).await).then_some(())).await;
    here.set_enabled(&tenant, &name, true).await.unwrap();
    assert!(enabled(&*here, &name).await, "its own changes are known at once");

    until("it is kept again", async || is_kept(&*here, &prefix, &name).await.then_some(())).await;
    flip(&prefix, &name, 0).await;
    proxy.set(Mode::Cut);
    proxy.connections(0).await;
    proxy.set(Mode::Open);
    until("the server is found", async || here.ping().await.ok()).await;
    until("without a subscription it is read", async || (!enabled(&*here, &name).await).then_some(())).await;
    clean(&prefix).await;
}
