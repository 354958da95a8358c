//! The rules about the tree itself that a machine can check: who may depend on whom, how files open, how long
//! they are, where `unsafe` may stand, and which dependencies may come twice.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails, and figures are printed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates of the workspace, and what each may depend on besides `protocol`.
const DIRECTIONS: &[(&str, &str, &[&str])] = &[
    ("protocol", "protocol", &[]),
    ("conformance", "protocol/conformance", &[]),
    ("backend-embedded", "protocol/backends/embedded", &[]),
    ("backend-rabbitmq", "protocol/backends/rabbitmq", &[]),
    ("backend-redis", "protocol/backends/redis", &[]),
    ("backend-wrappers", "protocol/backends/wrappers", &[]),
    ("dispatcher", "dispatcher", &[]),
    ("worker", "worker", &["sandbox"]),
    ("sandbox", "worker/sandbox", &[]),
];

/// Who alone may name a library.
const WRAPPERS: &[(&str, &[&str])] = &[
    ("lapin", &["backend-rabbitmq"]),
    ("redis", &["backend-redis"]),
    ("rusqlite", &["backend-embedded"]),
    ("jsonschema", &["protocol"]),
    ("ring", &["protocol"]),
    ("axum", &["dispatcher", "sortie"]),
    ("reqwest", &["worker", "sortie"]),
    ("rustix", &["sandbox"]),
];

/// A file past this answers more than one question.
const LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(&path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Every file with one of these endings, without what is built or hidden.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root().to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 5, "the tree looks empty");
    found
}

/// The names in the section `[dependencies]` (or `[dev-dependencies]`) of a manifest.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    manifest
        .split("\n[")
        .filter_map(|part| part.strip_prefix(&format!("{section}]")))
        .flat_map(str::lines)
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_depend_only_in_the_direction_of_the_architecture() {
    let ours: BTreeSet<&str> = DIRECTIONS.iter().map(|(name, ..)| *name).collect();
    for (name, folder, more) in DIRECTIONS {
        for dependency in dependencies(&read(format!("{folder}/Cargo.toml")), "dependencies") {
            if ours.contains(dependency.as_str()) {
                let allowed = dependency == "protocol" || more.contains(&dependency.as_str());
                assert!(allowed, "{name} must not depend on {dependency}");
            }
        }
    }
}

#[test]
fn libraries_are_named_by_their_wrappers_only() {
    let root_package = ("sortie", ".", &[] as &[&str]);
    for (name, folder, _) in DIRECTIONS.iter().chain([&root_package]) {
        let found = dependencies(&read(format!("{folder}/Cargo.toml")), "dependencies");
        for (library, wrappers) in WRAPPERS {
            assert!(
                !found.contains(*library) || wrappers.contains(name),
                "{name} must not depend on {library}"
            );
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_for_and_is_not_too_long() {
    for path in files(&[".rs"]) {
        let text = read(&path);
        assert!(
            text.starts_with("//!"),
            "{} must open with `//!` and what it is responsible for",
            path.display()
        );
        let lines = text.lines().count();
        assert!(
            lines <= LINES,
            "{} has {lines} lines; split it by the questions that it answers",
            path.display()
        );
    }
    // Handlers of tests look like what users write: some are one line, some don't compile.
    for path in
        files(&[".py"]).into_iter().filter(|path| !path.parent().unwrap().ends_with("fixtures/handlers"))
    {
        let text = read(&path);
        assert!(
            text.starts_with("\"\"\"") || text.is_empty(),
            "{} must open with a docstring",
            path.display()
        );
    }
}

#[test]
fn unsafe_code_stands_in_the_sandbox_only() {
    let word = ["uns", "afe "].concat();
    for path in files(&[".rs"]) {
        let relative = path.strip_prefix(root()).unwrap();
        if !relative.starts_with("worker/sandbox") {
            let line = read(&path)
                .lines()
                .position(|line| line.trim_start().starts_with(&word) || line.contains(&format!("= {word}")));
            assert!(line.is_none(), "{}:{} has unsafe code", relative.display(), line.unwrap_or(0) + 1);
        }
    }
}

/// `cargo tree -d` and the list `skip` of deny.toml say the same.
#[test]
#[expect(clippy::disallowed_methods, reason = "cargo knows which dependencies come twice")]
fn a_dependency_comes_twice_only_for_a_reason() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--duplicates", "--depth", "0", "--edges", "no-dev", "--locked", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name.to_owned()).or_default().insert(version.trim_start_matches('v').to_owned());
        }
    }
    let deny = read("deny.toml");
    let skipped: Vec<(String, String)> = deny
        .lines()
        .filter(|line| line.contains("reason = "))
        .filter_map(|line| line.split("crate = \"").nth(1)?.split('"').next()?.split_once('@'))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect();
    let is_skipped = |name: &str, version: &str| {
        skipped.iter().any(|(n, v)| n == name && (version == v || version.starts_with(&format!("{v}."))))
    };
    for (name, found) in &versions {
        let unexplained: Vec<_> = found.iter().filter(|version| !is_skipped(name, version)).collect();
        assert!(
            unexplained.len() <= 1,
            "{name} comes as {unexplained:?}; give a reason in deny.toml or remove one"
        );
    }
    for (name, version) in &skipped {
        let still =
            versions.get(name).is_some_and(|found| found.iter().any(|f| f.starts_with(version.as_str())));
        assert!(still, "deny.toml explains {name}@{version}, which doesn't come twice any more");
    }
}

#[test]
fn the_commands_of_the_readme_exist() {
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    let named: BTreeSet<&str> = readme
        .split("make ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
        .filter(|word| makefile.contains(&format!("\n{word}:")))
        .collect();
    assert!(named.contains("run") && named.contains("test"), "the README names `make run` and `make test`");
}
