//! Measures Sortie as its users meet it: jobs over HTTP, through RabbitMQ and Redis, to sandboxed Python and back;
//! against Celery, Dramatiq and Taskiq on the same servers in the same run. Prints Markdown and JSON.
//!
//! tests/bench/run prepares what it needs and starts it; tests/bench/README.md says what the figures mean.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are printed, and what is going on")]

mod actions;
mod aims;
mod backlog;
mod ceiling;
mod events;
mod figures;
mod footprint;
mod generator;
mod http;
mod latency;
mod load;
mod machine;
mod memory;
mod opponents;
mod options;
mod pace;
mod peers;
mod report;
mod servers;
mod session;
mod sortie;
mod starting;
mod streams;
mod target;
mod throughput;
mod turn;
mod usage;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use serde_json::json;

use figures::Figures;
use options::{Form, Options, Part};
use servers::Servers;
use session::{EMBEDDED, SORTIE, Session, say};
use sortie::{Setup, Sortie};

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread: the load generator should take as little from what it measures as it can.
#[tokio::main(flavor = "current_thread")]
async fn run(options: Options) -> anyhow::Result<()> {
    let setup = Setup {
        program: options.sortie.clone(),
        python: options.python.clone(),
        dir: sortie::emptied(&options.out.join("run"))?,
        target: target::start()?,
    };
    let servers = Servers::find(&options.amqp, &options.redis, &setup.dir)?;
    let mut session = Session { options, servers, setup, figures: Figures::new() };
    tokio::select! {
        measured = measure(&mut session) => measured?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
    say(&format!("done in {} s", session.figures.age().as_secs()));
    tell(&session)
}

async fn measure(session: &mut Session) -> anyhow::Result<()> {
    let wanted = |session: &Session, part| session.options.wants(part);
    if wanted(session, Part::Generator) {
        generator::measure(session).await?;
    }
    // In turns, so that a busy moment of the machine meets everybody.
    let rounds = session.options.rounds();
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}"));
        if wanted(session, Part::Ceiling) {
            ceiling::measure(session).await?;
        }
        if wanted(session, Part::Throughput) || wanted(session, Part::Latency) {
            turn::distributed(session).await?;
            turn::classic(session).await?;
            if wanted(session, Part::Embedded) {
                turn::embedded(session).await?;
            }
            for peer in session.peers() {
                opponents::turn(session, *peer).await?;
            }
        }
    }
    say("once");
    if wanted(session, Part::Stream) {
        let sortie = Sortie::distributed(&session.setup, &session.servers, session.options.slots()).await?;
        streams::measure(session, (SORTIE, &sortie)).await?;
        sortie.stop().await?;
        if session.options.form == Form::Full {
            let sortie = Sortie::embedded(&session.setup, session.options.slots()).await?;
            streams::measure(session, (EMBEDDED, &sortie)).await?;
            sortie.stop().await?;
        }
    }
    if wanted(session, Part::Start) {
        starting::sortie(session).await?;
        for peer in session.peers() {
            starting::peer(session, *peer).await?;
        }
    }
    if wanted(session, Part::Footprint) {
        footprint::sortie(session).await?;
        for peer in session.peers().iter().take(session.options.form.of(1, 3)) {
            footprint::peer(session, *peer).await?;
        }
    }
    if wanted(session, Part::Backlog) {
        for jobs in session.options.form.of(&[1_000, 10_000][..], &[1_000, 10_000, 100_000]) {
            backlog::sortie(session, *jobs).await?;
        }
        for jobs in session.options.form.of(&[1_000][..], &[1_000, 10_000, 100_000]) {
            for peer in session.peers() {
                backlog::peer(session, *peer, *jobs).await?;
            }
        }
    }
    Ok(())
}

/// Prints the figures, and keeps them.
fn tell(session: &Session) -> anyhow::Result<()> {
    let (figures, options) = (&session.figures, &session.options);
    let machine = machine::describe(options);
    let head = format!("# Sortie and its peers\n\n{}", machine::sentence(&machine));
    let markdown = report::markdown(figures, &head);
    let all = json!({"machine": machine, "aims": aims::json(figures), "figures": figures.json()});
    for (name, text) in [("fleet.md", &markdown), ("fleet.json", &format!("{all:#}\n"))] {
        let path = options.out.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{markdown}\n```json\n{all:#}\n```");
    Ok(())
}
