//! Attacks on the sandbox: each is a Python handler that really tries, and tells what came of it. After each one the
//! next call in the same slot must find everything as the first call found it.
//!
//! Run as root, the program runs itself again as an ordinary user. Its last line counts: `attacks: 99 as root, 99 as
//! user 65534`. Arguments are parts of names: only those attacks run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is how a test fails"
)]

mod bombs;
mod files;
mod frames;
mod kernel;
mod leftovers;
mod memory;
mod network;
mod others;
mod processes;
mod run;
mod servers;
mod stage;
mod user;

use std::process::ExitCode;

use run::Attack;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        // The workers of the tests start this program as their helper.
        Some(sandbox::SUBCOMMAND) => sandbox::helper_main(),
        Some(user::BECOME) => user::become_ordinary(&arguments[1..]),
        _ => all(&arguments),
    }
}

fn all(arguments: &[String]) -> ExitCode {
    // What cargo passes on to test programs means nothing here.
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let themes = [
        files::attacks(),
        processes::attacks(),
        memory::attacks(),
        bombs::attacks(),
        kernel::attacks(),
        network::attacks(),
        frames::attacks(),
        leftovers::attacks(),
        others::attacks(),
    ];
    let attacks: Vec<_> = in_turn(themes).filter(|attack| attack.is_any_of(&wanted)).collect();
    if arguments.iter().any(|word| word == "--list") {
        attacks.iter().for_each(|attack| println!("{}: test", attack.name));
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let user = rustix::process::geteuid();
    let done = run::all(attacks);
    if !user.is_root() {
        // The run as root adds its own half.
        println!("{}{} as user {}", user::count_before(), done.held, user.as_raw());
        return done.code();
    }
    if done.failed > 0 {
        println!("attacks: {} as root; {} failed", done.held, done.failed);
        return done.code();
    }
    user::run_as_ordinary(&wanted, done.held)
}

/// One of each theme in turn: those of some can't run beside each other.
fn in_turn(themes: [Vec<Attack>; 9]) -> impl Iterator<Item = Attack> {
    let longest = themes.iter().map(Vec::len).max().unwrap_or_default();
    let mut themes = themes.map(Vec::into_iter);
    (0..longest).flat_map(move |_| themes.each_mut().map(Iterator::next)).flatten()
}
