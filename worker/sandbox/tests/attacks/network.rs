//! Attacks on the network: around the egress gate, through it to where it must not lead, and at the gate itself.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::attacks;
use crate::servers::servers;
use crate::stage::{Given, Stage, assert_each};

attacks!("network.py":
    opens_raw_sockets,
    opens_packet_and_netlink_sockets,
    opens_sockets_of_other_families,
    pairs_sockets_of_other_families,
    opens_sockets_of_other_types,
    changes_its_network,
    connects_to_the_loopback_of_the_host,
    connects_to_an_abstract_socket_of_the_host,
    connects_to_a_socket_file_of_the_host,
    connects_without_the_gate,
    asks_a_name_server_itself,
    sends_datagrams_out,
    is_reached_from_the_host,
    reaches_the_loopback_of_the_host_through_the_gate,
    reaches_the_fleets_own_servers,
    reaches_metadata_by_address,
    reaches_metadata_by_name,
    reaches_metadata_by_other_spellings,
    reaches_the_loopback_by_other_spellings,
    reaches_private_networks,
    is_redirected_to_metadata,
    is_redirected_to_the_host_by_the_library,
    rebinds_a_name,
    reaches_what_its_action_does_not_list,
    names_one_host_and_means_another,
    smuggles_a_second_request,
    smuggles_by_line_ends,
    asks_the_gate_for_itself,
    floods_the_gate_with_connections,
    holds_the_gate_up_with_half_a_request,
    listens_in_place_of_the_gate,
    speaks_to_the_gate_after_its_call,
);

/// The open server is reached, so a failure says something.
async fn assert_gate_works(stage: &Stage) {
    let port = servers().await.open.port();
    let told = stage.inside_with(json!({"control": port})).await;
    assert_eq!(told, "reached", "the gate leads to the open server");
}

async fn opens_raw_sockets(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM", "ENOSYS"]);
}

async fn opens_packet_and_netlink_sockets(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM", "ENOSYS"]);
    assert_eq!(stage.outside().await["netlink route"], "done");
}

async fn opens_sockets_of_other_families(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM", "ENOSYS"]);
}

async fn pairs_sockets_of_other_families(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["ENOSYS"]);
    // Elsewhere the kernel makes the sockets, and then finds that they have no pairs.
    assert_eq!(stage.outside_with(json!({"control": true})).await, "ENOTSUP");
}

async fn opens_sockets_of_other_types(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["ENOSYS"]);
    // Elsewhere the kernel looks for a protocol, and for a module that brings one.
    assert_eq!(stage.outside_with(json!({"control": true})).await, "ESOCKTNOSUPPORT");
}

async fn changes_its_network(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM", "ENOSYS", "ENODEV"]);
}

async fn connects_to_the_loopback_of_the_host(stage: &mut Stage) {
    let input = json!({"port": servers().await.host.port()});
    assert_each(&stage.inside_with(input.clone()).await, &["ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"]);
    assert_eq!(stage.outside_with(input).await["127.0.0.1"], "done");
}

async fn connects_to_an_abstract_socket_of_the_host(stage: &mut Stage) {
    let name = format!("sortie-attack-{}-{}", std::process::id(), stage.function());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let input = json!({"name": name});
    assert_eq!(stage.inside_with(input.clone()).await, "ECONNREFUSED");
    assert_eq!(stage.outside_with(input).await, "done");
}

async fn connects_to_a_socket_file_of_the_host(stage: &mut Stage) {
    let path = std::env::temp_dir().join(format!("sortie-attack-{}.sock", std::process::id()));
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let input = json!({"path": path});
    let (inside, outside) = (stage.inside_with(input.clone()).await, stage.outside_with(input).await);
    std::fs::remove_file(path).unwrap();
    assert_each(&inside, &["ENOENT", "ENOTDIR", "EACCES"]);
    assert_eq!(outside["path"], "done");
}

async fn connects_without_the_gate(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["ENETUNREACH", "EADDRNOTAVAIL", "EINVAL", "EACCES"]);
    assert_gate_works(stage).await;
}

async fn asks_a_name_server_itself(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["ENETUNREACH", "ECONNREFUSED", "-2", "-3"]);
}

async fn sends_datagrams_out(stage: &mut Stage) {
    assert_each(
        &stage.inside().await,
        &["ENETUNREACH", "EACCES", "EPERM", "ENOSYS", "EADDRNOTAVAIL", "ENODEV", "EINVAL"],
    );
}

async fn is_reached_from_the_host(stage: &mut Stage) {
    // It listens on every address, and tells the port in a chunk; we are the host.
    let port: u16 = 41_234;
    let running =
        stage.ran(json!({"port": port}), Given { limit: Duration::from_secs(10), ..Given::default() });
    let knocking = tokio::task::spawn_blocking(move || {
        for _ in 0..50 {
            for address in ["127.0.0.1", "[::1]", "127.77.0.1"] {
                let Ok(mut stream) = std::net::TcpStream::connect(format!("{address}:{port}")) else {
                    continue;
                };
                let mut text = String::new();
                let _ = stream.write_all(b"x");
                let _ = stream.read_to_string(&mut text);
                assert_ne!(text, "inside", "the slot is reached from the host");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (ran, knocked) = tokio::join!(running, knocking);
    knocked.unwrap();
    assert_eq!(ran.value(), json!({"reached by itself": "inside", "reached from outside": 0}));
}

async fn reaches_the_loopback_of_the_host_through_the_gate(stage: &mut Stage) {
    let told = stage.inside_with(json!({"port": servers().await.host.port()})).await;
    assert_denied(&told);
    assert_gate_works(stage).await;
}

/// Every way ended with a refusal that names the gate's rule.
fn assert_denied(told: &Value) {
    let told = told.as_object().unwrap();
    assert!(!told.is_empty());
    for (way, came) in told {
        let came = came.as_str().unwrap_or_default();
        let denied = came.contains("egress denied")
            || came.contains("403 Egress denied")
            || came.contains("400 Egress");
        let nowhere =
            came.contains("ECONNREFUSED") || came.contains("gaierror") || came.contains("can't be resolved");
        assert!((denied || nowhere) && !came.contains("reached"), "{way}: {came}");
    }
    assert!(told.values().any(|came| came.to_string().contains("denied")), "{told:?}");
}

async fn reaches_the_fleets_own_servers(stage: &mut Stage) {
    let told = stage.inside_with(json!({"port": servers().await.own.port()})).await;
    assert_denied(&told);
    assert_gate_works(stage).await;
}

async fn reaches_metadata_by_address(stage: &mut Stage) {
    assert_denied(&stage.inside().await);
}

async fn reaches_metadata_by_name(stage: &mut Stage) {
    assert_denied(&stage.inside().await);
}

async fn reaches_metadata_by_other_spellings(stage: &mut Stage) {
    assert_denied(&stage.inside().await);
}

async fn reaches_the_loopback_by_other_spellings(stage: &mut Stage) {
    assert_denied(&stage.inside_with(json!({"port": servers().await.host.port()})).await);
}

async fn reaches_private_networks(stage: &mut Stage) {
    assert_denied(&stage.inside().await);
}

async fn is_redirected_to_metadata(stage: &mut Stage) {
    assert_denied(&stage.inside_with(json!({"port": servers().await.open.port()})).await);
}

async fn is_redirected_to_the_host_by_the_library(stage: &mut Stage) {
    let servers = servers().await;
    let input = json!({"port": servers.open.port(), "host": servers.host.port()});
    assert_denied(&stage.inside_with(input).await);
}

async fn rebinds_a_name(stage: &mut Stage) {
    // Every second answer of the resolver is the host itself. The port is one that only the open server has.
    let servers = servers().await;
    let told = stage.inside_with(json!({"port": servers.open.port(), "host": servers.host.port()})).await;
    assert_eq!(told["open"], json!(["denied", "reached"]));
    assert_eq!(told["host"], json!(["denied", "refused"]));
}

async fn reaches_what_its_action_does_not_list(stage: &mut Stage) {
    let port = servers().await.open.port();
    let egress = |allow: &[&str]| Given { egress: Some(json!({"allow": allow})), ..Given::default() };
    let listed = stage.ran(json!({"port": port}), egress(&["open.test"])).await.value();
    assert_eq!(listed["open.test"], "reached");
    assert!(listed["127.77.0.1"].as_str().unwrap().contains("allow-list"), "{listed}");
    let none = stage.ran(json!({"port": port}), egress(&[])).await.value();
    assert_denied(&none);
    assert_denied(&stage.ran(json!({"port": port}), egress(&["*.example.org"])).await.value());
}

async fn names_one_host_and_means_another(stage: &mut Stage) {
    let servers = servers().await;
    let input = json!({"port": servers.open.port(), "own": servers.own.port()});
    for (way, came) in stage.inside_with(input).await.as_object().unwrap() {
        assert!(!came.as_str().unwrap().contains("reached"), "{way}: {came}");
    }
}

async fn smuggles_a_second_request(stage: &mut Stage) {
    let servers = servers().await;
    let input = json!({"port": servers.open.port(), "host": servers.host.port()});
    let told = stage.inside_with(input).await;
    // The first request may be answered; what comes behind it reaches nobody.
    assert!(told["answers"].as_u64().unwrap() <= 1, "{told}");
}

async fn smuggles_by_line_ends(stage: &mut Stage) {
    let servers = servers().await;
    let input = json!({"port": servers.open.port(), "host": servers.host.port()});
    for (way, came) in stage.inside_with(input).await.as_object().unwrap() {
        assert!(!came.as_str().unwrap().contains("reached"), "{way}: {came}");
    }
}

async fn asks_the_gate_for_itself(stage: &mut Stage) {
    assert_denied(&stage.inside().await);
}

async fn floods_the_gate_with_connections(stage: &mut Stage) {
    let told = stage.inside_with(json!({"port": servers().await.open.port()})).await;
    let open = told["open"].as_u64().unwrap();
    assert!((1..=64).contains(&open), "{told}");
    assert!(told["refused"].as_u64().unwrap() > 0, "{told}");
    assert_gate_works(stage).await;
}

async fn holds_the_gate_up_with_half_a_request(stage: &mut Stage) {
    assert_eq!(stage.inside().await, "held");
    // The connections of that call are gone with it.
    assert_gate_works(stage).await;
}

async fn listens_in_place_of_the_gate(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EADDRINUSE"]);
    assert_gate_works(stage).await;
}

async fn speaks_to_the_gate_after_its_call(stage: &mut Stage) {
    // A thread of a warm process could stay for a moment; whoever speaks between calls is denied or dead.
    let port = servers().await.open.port();
    let warm = Given { warm: true, ..Given::default() };
    assert_eq!(stage.ran(json!({"port": port, "step": "leave"}), warm.clone()).await.value(), "left");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let told = stage.ran(json!({"port": port, "step": "tell"}), warm).await.value();
    assert_each(&told, &["another process", "denied"]);
    stage.pool.look().await;
}
