//! How much memory a tree of processes has, for hosts whose kernel can't bound a group of processes for us.

use std::fs;

use crate::kill::descendants;

/// Sockets of a slot whose buffers are nobody's worry.
const FREE_SOCKETS: u64 = 128;
/// What the buffers of a socket may hold: twice Linux's `net.core.wmem_max`, which is how the kernel counts.
const SOCKET_BYTES: u64 = 2 * 212_992;

/// Bytes of memory that the living descendants of `root` have, without files of the disk and without `root` itself;
/// tables of pages and buffers of sockets, which the kernel has for them, included. Pages that several of them share
/// are counted once, if the simple count exceeds `enough`. Blocks; long, if they have many pages.
pub fn memory_below(root: u32, enough: u64) -> u64 {
    let Ok(number) = i32::try_from(root) else { return 0 };
    let (living, _) = descendants(number);
    let each = |file: &str, names: &[&str]| -> u64 {
        living
            .iter()
            .filter_map(|pid| {
                fs::read_to_string(format!("/proc/{pid}/{file}")).ok().map(|text| sum(&text, names))
            })
            .sum()
    };
    let kernel = each("status", &["VmPTE:"]) + socket_bytes(number);
    let simple = each("status", &["RssAnon:", "RssShmem:"]) + kernel;
    if simple <= enough {
        return simple;
    }
    // Slow (the kernel looks at every page), and not allowed everywhere.
    match each("smaps_rollup", &["Pss_Anon:", "Pss_Shmem:"]) {
        0 => simple,
        exact => exact + kernel,
    }
}

/// What the sockets in the network of a process can hold, unless it is our own network.
fn socket_bytes(pid: i32) -> u64 {
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let theirs = network(&pid.to_string());
    if theirs.is_none() || theirs == network("self") {
        return 0;
    }
    let told = fs::read_to_string(format!("/proc/{pid}/net/sockstat")).unwrap_or_default();
    let used = told.lines().find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse::<u64>().ok());
    used.unwrap_or_default().saturating_sub(FREE_SOCKETS) * SOCKET_BYTES
}

/// The sum of the lines of these names, which are in kB.
fn sum(text: &str, names: &[&str]) -> u64 {
    let lines = text.lines().filter_map(|line| names.iter().find_map(|name| line.strip_prefix(name)));
    lines.filter_map(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map(|kib| kib * 1024).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed() {
        let text = "VmRSS:\t 9 kB\nRssAnon:\t     12 kB\nRssFile:\t 5 kB\nRssShmem:\t       4 kB\n";
        assert_eq!(sum(text, &["RssAnon:", "RssShmem:"]), 16 * 1024);
    }
}
