//! A RabbitMQ and a Redis that a fault run may kill.

use std::process::Command;

use crate::support::{Dir, Servers};

pub(crate) struct OwnServers {
    pub(crate) servers: Servers,
    dir: Dir,
}

impl OwnServers {
    /// Starts both.
    pub(crate) async fn up() -> Self {
        let dir = Dir::new();
        let path = dir.path().to_owned();
        run(&["up", &path.to_string_lossy()]).await;
        let env = std::fs::read_to_string(path.join("env")).unwrap();
        let value = |name: &str| {
            let line = env.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("tests/servers did not say {name}")).to_owned()
        };
        let servers = Servers {
            amqp: value("SORTIE_TEST_AMQP_URL"),
            redis: value("SORTIE_TEST_REDIS_URL"),
            prefix: "sortie".into(),
        };
        Self { servers, dir }
    }

    /// `start`, `stop` (kill -9) or `restart` of `rabbitmq` or `redis`.
    pub(crate) async fn tell(&self, verb: &str, what: &str) {
        run(&[verb, what, &self.dir.path().to_string_lossy()]).await;
    }
}

impl Drop for OwnServers {
    #[expect(clippy::disallowed_methods, reason = "the run stops what it started")]
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers");
        let _ = Command::new(script).arg("down").arg(self.dir.path()).status();
    }
}

#[expect(clippy::disallowed_methods, reason = "the run starts the servers that it kills")]
async fn run(args: &[&str]) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers");
    let shown = args.join(" ");
    let status =
        tokio::task::spawn_blocking(move || Command::new(script).args(args).status()).await.unwrap().unwrap();
    assert!(status.success(), "tests/servers {shown} failed");
}
