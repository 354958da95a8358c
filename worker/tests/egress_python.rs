//! What handler authors use to reach the network, on a real interpreter with `network.py`, through a real gate, to real
//! servers: all of it reaches an allowed host, and each tells at once why another one is denied.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::egress::Egress;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use worker::Metrics;
use worker::egress::{CallPolicy, Gate, Limits, SlotGate};

/// Clients that the script knows; each is run against an allowed and against a denied host.
const CLIENTS: &[&str] = &[
    "requests_http",
    "requests_https",
    "requests_session",
    "requests_https_without_proxy",
    "urllib_http",
    "urllib_https",
    "http_client_http",
    "http_client_https",
    "raw_socket",
    "raw_socket_tls",
    "raw_socket_tls_connected_later",
    "socket_with_timeout",
    "socket_ipv6",
    "socket_by_literal_name",
    "socket_without_blocking",
    "socket_duplicated_and_made_file",
    "asyncio_streams",
    "asyncio_streams_tls",
    "asyncio_sock_connect",
    "asyncio_many_at_once",
    "forked_process",
    "started_process",
];

/// What comes out of one run of the script, by client.
async fn run(
    slot: &SlotGate,
    clients: &[&str],
    host: &str,
    ports: [u16; 2],
    ca: &Path,
) -> BTreeMap<String, String> {
    let gate = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gate_port = gate.local_addr().unwrap().port();
    slot.serve(gate).unwrap();
    let task = json!({
        "gate": gate_port, "host": host, "http": ports[0], "https": ports[1], "ca": ca, "clients": clients,
        "runner": Path::new(env!("CARGO_MANIFEST_DIR")).join("runner"),
    });
    let output = tokio::task::spawn_blocking(move || python(&task)).await.unwrap();
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[expect(clippy::disallowed_methods, reason = "a test plays the sandbox")]
fn python(task: &Value) -> String {
    let interpreter = std::env::var_os("SORTIE_TEST_PYTHON").map(PathBuf::from).expect(
        "SORTIE_TEST_PYTHON must name a Python 3.12 or newer with `requests` (`make test` prepares one and sets it)",
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/egress_python/clients.py");
    let output = std::process::Command::new(interpreter)
        .args(["-I", "-B"])
        .arg(script)
        .arg(task.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A gate behind which every name is this machine, for a call with an allow-list.
fn slot() -> SlotGate {
    let gate = Gate::with_names(&["127.0.0.1".parse().unwrap()], &[], |name: &str| {
        if name == "nowhere.test" { Vec::new() } else { vec![Ipv4Addr::LOCALHOST.into()] }
    });
    SlotGate::new(gate, Metrics::register(&prometheus::Registry::new()).unwrap())
}

fn policy() -> CallPolicy {
    let allow = ["open.test", "nowhere.test"].map(|pattern| pattern.parse().unwrap()).to_vec();
    let ends = Instant::now() + Duration::from_secs(120);
    CallPolicy { egress: Some(Egress { allow }), ends, limits: Limits::default() }
}

/// Two servers that answer every request with its host and path: plain, and with TLS. And the authority of the latter.
async fn servers() -> ([u16; 2], Authority) {
    let (authority, tls) = certificates();
    let tls = TlsAcceptor::from(Arc::new(tls));
    let (http, https) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let ports = [http.local_addr().unwrap().port(), https.local_addr().unwrap().port()];
    tokio::spawn(async move {
        while let Ok((stream, _)) = http.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = https.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    answer(stream).await;
                }
            });
        }
    });
    (ports, authority)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let body = format!("reached {path}");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// The certificate of a test's own authority, as a file; removed when dropped.
struct Authority(PathBuf);

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn certificates() -> (Authority, ServerConfig) {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    // Two certificates with one name would be taken for one that signs itself.
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["open.test".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).unwrap();

    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("sortie-egress-{}-{number}.pem", std::process::id()));
    std::fs::write(&path, issuer.pem()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    (Authority(path), config)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_reaches_an_allowed_host() {
    let (ports, authority) = servers().await;
    let slot = slot();
    let _call = slot.open(policy());
    let outcomes = run(&slot, CLIENTS, "open.test", ports, &authority.0).await;
    for client in CLIENTS {
        assert_eq!(outcomes[*client], format!("reached /{client}"), "{client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_tells_why_a_host_is_denied() {
    let (ports, authority) = servers().await;
    let slot = slot();
    let _call = slot.open(policy());
    let outcomes = run(&slot, CLIENTS, "closed.test", ports, &authority.0).await;
    for client in CLIENTS {
        let told = outcomes[*client].to_lowercase();
        for part in ["egress denied", "closed.test", "allow-list", "`egress.allow`"] {
            assert!(told.contains(part), "{client} lacks {part:?}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_tells_that_a_host_is_not_there() {
    let (ports, authority) = servers().await;
    let slot = slot();
    let _call = slot.open(policy());
    let outcomes = run(&slot, CLIENTS, "nowhere.test", ports, &authority.0).await;
    for client in CLIENTS {
        let told = &outcomes[*client];
        assert!(told.contains("nowhere.test") && told.contains("can't be resolved"), "{client}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn corners_of_the_socket_module_are_as_they_should_be() {
    let (ports, authority) = servers().await;
    let slot = slot();
    let _call = slot.open(policy());
    let corners: &[(&str, &str)] = &[
        ("datagrams", "only TCP leaves the sandbox"),
        ("datagram_endpoint", "only TCP leaves the sandbox"),
        ("datagrams_within", "pong"),
        ("own_server", "pong"),
        ("own_server_asyncio", "pong"),
        ("loopback_denied", "PermissionError: [Errno 13] egress denied: 127.0.0.2:"),
        ("metadata", "PermissionError: [Errno 13] egress denied: 169.254.169.254:80"),
        ("retry_on_the_same_socket", "13 13 reached"),
        ("tried_by_number", "13"),
        ("no_name", "gaierror"),
        ("literals", "AF_INET 93.184.216.34 80"),
        ("unix_socket", "pong"),
        ("cancelled", "cancelled"),
    ];
    let names: Vec<&str> = corners.iter().map(|(name, _)| *name).collect();
    let outcomes = run(&slot, &names, "open.test", ports, &authority.0).await;
    for (name, part) in corners {
        assert!(outcomes[*name].contains(part), "{name}: {:?} lacks {part:?}", outcomes[*name]);
    }
}
