//! The filter of system calls: `seccomp.json` as a program for the kernel.
//!
//! Two filters are installed, one over the other; the kernel takes the stricter answer. The first lets through what
//! `allow` names and answers ENOSYS to everything else; the second answers EPERM to what `refuse` names.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, TargetArch};
use serde::Deserialize;
use serde_json::json;

const DATA: &str = include_str!("seccomp.json");

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The machine is neither x86_64 nor aarch64.
    #[error("there is no system call filter for the architecture {0}; x86_64 and aarch64 have one")]
    Architecture(&'static str),
    /// Our data is wrong.
    #[error("the system call filter can't be made")]
    Data(#[from] serde_json::Error),
    /// The same, found by the compiler.
    #[error("the system call filter can't be compiled: {0}")]
    Compile(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    #[serde(rename = "about")]
    _about: String,
    allow: Vec<Group>,
    refuse: Vec<Group>,
}

/// Calls that are there for one reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    calls: Vec<String>,
    #[serde(rename = "comment")]
    _comment: String,
    /// The only architecture that has them.
    only: Option<String>,
    /// All of these must hold.
    #[serde(default)]
    when: Vec<Condition>,
}

/// `argument[index] & mask == is`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    index: u8,
    #[serde(default = "whole")]
    mask: u32,
    is: u32,
}

const fn whole() -> u32 {
    u32::MAX
}

/// The filters for this machine, as the runner reads them (worker/runner/sortie_runner/confine.py): for each one the
/// number of its instructions (4 bytes, native order), then the instructions as the kernel takes them.
pub fn filters() -> Result<Vec<u8>, SeccompError> {
    let architecture = std::env::consts::ARCH;
    let target = match architecture {
        "x86_64" => TargetArch::x86_64,
        "aarch64" => TargetArch::aarch64,
        other => return Err(SeccompError::Architecture(other)),
    };
    let mut bytes = Vec::new();
    for program in compile(architecture, target)? {
        let count = u32::try_from(program.len()).map_err(|error| SeccompError::Compile(error.to_string()))?;
        bytes.extend_from_slice(&count.to_ne_bytes());
        for instruction in &program {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
    }
    Ok(bytes)
}

/// `allow`, then `refuse`, in the order in which they are installed: of two equally strict answers the kernel takes
/// that of the filter that came last.
fn compile(architecture: &str, target: TargetArch) -> Result<[BpfProgram; 2], SeccompError> {
    let data: Data = serde_json::from_str(DATA)?;
    let rules = |groups: &[Group]| -> Vec<serde_json::Value> {
        let mine =
            groups.iter().filter(|group| group.only.as_deref().is_none_or(|only| only == architecture));
        mine.flat_map(|group| group.calls.iter().map(|call| rule(call, &group.when))).collect()
    };
    let (enosys, eperm) = (38, 1);
    let description = json!({
        "allow": {"mismatch_action": {"errno": enosys}, "match_action": "allow", "filter": rules(&data.allow)},
        "refuse": {"mismatch_action": "allow", "match_action": {"errno": eperm}, "filter": rules(&data.refuse)},
    });
    let text = description.to_string();
    let mut made: BTreeMap<_, _> = seccompiler::compile_from_json(text.as_bytes(), target)
        .map_err(|error| SeccompError::Compile(error.to_string()))?
        .into_iter()
        .collect();
    let mut take = |name| made.remove(name).ok_or_else(|| SeccompError::Compile(format!("no filter {name}")));
    Ok([take("allow")?, take("refuse")?])
}

fn rule(call: &str, conditions: &[Condition]) -> serde_json::Value {
    if conditions.is_empty() {
        return json!({"syscall": call});
    }
    let conditions = conditions.iter().map(|condition| {
        let operator = json!({"masked_eq": condition.mask});
        json!({"index": condition.index, "type": "dword", "op": operator, "val": condition.is})
    });
    json!({"syscall": call, "args": conditions.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_architectures_have_filters_that_the_kernel_takes() {
        for (name, target) in [("x86_64", TargetArch::x86_64), ("aarch64", TargetArch::aarch64)] {
            for program in compile(name, target).unwrap() {
                // BPF_MAXINSNS.
                assert!((10..4096).contains(&program.len()), "{name}: {}", program.len());
            }
        }
    }

    #[test]
    fn no_call_is_named_twice_without_a_condition() {
        let data: Data = serde_json::from_str(DATA).unwrap();
        for groups in [&data.allow, &data.refuse] {
            let mut seen = std::collections::BTreeSet::new();
            for group in groups.iter().filter(|group| group.when.is_empty()) {
                for call in &group.calls {
                    assert!(seen.insert(call), "{call}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_refused_and_allowed_without_a_condition() {
        let data: Data = serde_json::from_str(DATA).unwrap();
        let allowed: Vec<_> = data.allow.iter().flat_map(|group| &group.calls).collect();
        for group in data.refuse.iter().filter(|group| group.when.is_empty()) {
            assert!(group.calls.iter().all(|call| !allowed.contains(&call)), "{:?}", group.calls);
        }
    }

    /// What a container that runs us may call (deploy/container/seccomp.json): unconditionally, and under conditions.
    fn of_containers() -> [std::collections::BTreeSet<String>; 2] {
        let profile: serde_json::Value =
            serde_json::from_str(include_str!("../../../deploy/container/seccomp.json")).unwrap();
        let allowed = |conditional: bool| {
            let groups = profile["syscalls"].as_array().unwrap().iter();
            let groups = groups.filter(move |group| group["action"] == "SCMP_ACT_ALLOW");
            let names = groups.filter(move |group| group["args"].is_array() == conditional);
            names.flat_map(|group| group["names"].as_array().unwrap().clone())
        };
        [false, true].map(|which| allowed(which).map(|name| name.as_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn in_a_container_handlers_may_call_what_they_may_elsewhere() {
        let data: Data = serde_json::from_str(DATA).unwrap();
        let [always, sometimes] = of_containers();
        for group in &data.allow {
            for call in &group.calls {
                let found = always.contains(call) || (!group.when.is_empty() && sometimes.contains(call));
                assert!(found, "{call} is missing in deploy/container/seccomp.json");
            }
        }
    }

    #[test]
    fn the_profile_of_containers_has_nothing_more_than_the_sandbox_and_the_runtime_need() {
        let data: Data = serde_json::from_str(DATA).unwrap();
        let [always, sometimes] = of_containers();
        let handlers: Vec<_> = data.allow.iter().flat_map(|group| &group.calls).collect();
        let more: Vec<_> = always.union(&sometimes).filter(|call| !handlers.contains(call)).collect();
        let sandbox = ["mount", "mount_setattr", "pivot_root", "sethostname", "umount2", "unshare"];
        let mut expected = [&["capset", "setgroups"][..], &sandbox].concat();
        expected.sort_unstable();
        assert_eq!(more, expected);
    }
}
