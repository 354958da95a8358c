//! The figures as Markdown: tables for people, each with what it needs to be understood.

use std::fmt::Write;

use crate::aims;
use crate::figures::Figures;
use crate::session::{CEILING, CLASSIC, EMBEDDED, SORTIE};

const PEERS: [&str; 3] = ["Celery", "Dramatiq", "Taskiq"];

/// A row that compares: what it is called, what was measured of Sortie, and of the peers.
type Row = (&'static str, &'static str, &'static str);

const THROUGHPUT: &[Row] = &[
    ("no-op, warm process: in batches of 500", "throughput.noop_warm_batch", "throughput.noop"),
    ("… all jobs, then all results", "throughput.noop_warm_all", "throughput.noop"),
    ("… in a closed loop of 64", "throughput.noop_warm", "throughput.noop"),
    ("… by `202` and `GET …?wait`", "throughput.noop_warm_polled", "throughput.noop"),
    ("no-op, fresh process: in batches of 500", "throughput.noop_fresh_batch", "throughput.noop"),
    ("… all jobs, then all results", "throughput.noop_fresh_all", "throughput.noop"),
    ("… in a closed loop of 64", "throughput.noop_fresh", "throughput.noop"),
    ("… that imports `requests`: in batches of 500", "throughput.libraries_fresh_batch", "throughput.noop"),
    ("1 ms of CPU, warm", "throughput.cpu_warm", "throughput.cpu"),
    ("1 ms of CPU, fresh", "throughput.cpu_fresh", "throughput.cpu"),
    ("50 ms wait, 8 slots, warm", "throughput.wait_warm", "throughput.wait"),
    ("50 ms wait, 8 slots, fresh", "throughput.wait_fresh", "throughput.wait"),
    ("HTTP handler", "throughput.http", ""),
];

const LATENCY: &[Row] = &[
    ("one client, warm no-op, p50", "latency.noop_warm.p50_ms", "latency.noop.p50_ms"),
    ("… p95", "latency.noop_warm.p95_ms", "latency.noop.p95_ms"),
    ("… p99", "latency.noop_warm.p99_ms", "latency.noop.p99_ms"),
    ("by `202` and `GET …?wait`, p50", "latency.noop_warm_polled.p50_ms", "latency.noop.p50_ms"),
    ("one client, fresh no-op, p50", "latency.noop_fresh.p50_ms", "latency.noop.p50_ms"),
    ("… p99", "latency.noop_fresh.p99_ms", "latency.noop.p99_ms"),
    ("half of the own maximum rate, p50", "open.p50_ms", "open.p50_ms"),
    ("… p95", "open.p95_ms", "open.p95_ms"),
    ("… p99", "open.p99_ms", "open.p99_ms"),
];

const FOOTPRINT: &[Row] = &[
    ("worker with 8 slots, idle, MiB", "memory.worker.idle_mib", "memory.worker.idle_mib"),
    ("… busy, warm calls", "memory.worker.busy_warm_mib", "memory.worker.busy_warm_mib"),
    ("… busy, fresh calls", "memory.worker.busy_fresh_mib", "memory.worker.busy_warm_mib"),
    ("dispatcher, idle, MiB", "memory.dispatcher.idle_mib", ""),
    ("dispatcher, after load, MiB", "memory.dispatcher.after_mib", ""),
    ("start of a worker to its first result, ms", "start.first_result_ms", "start.first_result_ms"),
];

const STREAM: &[Row] = &[
    ("first chunk after the request, p50, ms", "stream.first_chunk.p50_ms", ""),
    ("… p99", "stream.first_chunk.p99_ms", ""),
    ("chunks/s of one stream, one reader", "stream.chunks_per_second", ""),
    ("chunks/s to 1,000 readers of one stream, together", "stream.readers.chunks_per_second", ""),
    ("delay of a chunk, 1,000 readers, 10 chunks/s, p50, ms", "stream.readers.delay.p50_ms", ""),
    ("… p99", "stream.readers.delay.p99_ms", ""),
];

/// All tables that have something in them.
pub(crate) fn markdown(figures: &Figures, head: &str) -> String {
    let mut text = format!("{head}\n");
    section(&mut text, "Aims", table(&["aim", "measured", ""], aims::rows(figures)));
    section(&mut text, "Jobs per second, from request to result", compare(figures, THROUGHPUT, Better::More));
    section(&mut text, "Time from request to result, ms", compare(figures, LATENCY, Better::Less));
    section(&mut text, "Processor time of a job, µs", costs(figures));
    section(&mut text, "What bounds everybody, jobs or messages per second", ceilings(figures));
    section(&mut text, "Streams", compare(figures, STREAM, Better::More));
    section(&mut text, "Memory (PSS) and start", compare(figures, FOOTPRINT, Better::Less));
    section(&mut text, "Nothing to do: share of a core, %", idle(figures));
    section(&mut text, "Backlog", backlog(figures));
    section(&mut text, "The load generator", generator(figures));
    text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// The ways in which Sortie runs.
const WAYS: [&str; 3] = [SORTIE, CLASSIC, EMBEDDED];

/// Each program's median with its spread over the rounds, and how many times better Sortie is.
fn compare(figures: &Figures, rows: &[Row], better: Better) -> String {
    let peers: Vec<&str> =
        PEERS.into_iter().filter(|peer| rows.iter().any(|row| figures.get(peer, row.2).is_some())).collect();
    let ways: Vec<&str> =
        WAYS.into_iter().filter(|way| rows.iter().any(|row| figures.get(way, row.1).is_some())).collect();
    let mut head = vec![""];
    head.extend(&ways);
    head.extend(&peers);
    let ratios: Vec<String> = peers.iter().map(|peer| format!("{peer} ×")).collect();
    head.extend(ratios.iter().map(String::as_str));
    let rows = rows.iter().filter(|row| ways.iter().any(|who| figures.get(who, row.1).is_some()));
    let rows = rows.map(|(label, ours, theirs)| {
        let mut row = vec![(*label).to_owned()];
        row.extend(ways.iter().map(|way| cell(figures, way, ours)));
        row.extend(peers.iter().map(|peer| cell(figures, peer, theirs)));
        row.extend(peers.iter().map(|peer| {
            let ratio =
                figures.get(SORTIE, ours).zip(figures.get(peer, theirs)).map(|(ours, theirs)| match better {
                    Better::More => ours / theirs,
                    Better::Less => theirs / ours,
                });
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        }));
        row
    });
    table(&head, rows)
}

const PARTS: [&str; 9] =
    ["load", "client", "dispatcher", "worker", "serve", "python", "rabbitmq", "redis", "others"];

/// Each kind of job of each program, split by who works for it.
fn costs(figures: &Figures) -> String {
    let mut head = vec!["", "job"];
    head.extend(PARTS);
    head.push("all but load and others");
    let rows = figures.keys().filter_map(|(who, what)| {
        let name = what.strip_prefix("busy.")?;
        let parts = PARTS.map(|part| figures.get(who, &format!("cpu.{name}.{part}")));
        let sum: f64 = PARTS
            .iter()
            .zip(parts)
            .filter(|(part, _)| !["load", "others"].contains(*part))
            .filter_map(|(_, value)| value)
            .sum();
        let mut row = vec![who.to_owned(), name.to_owned()];
        row.extend(parts.map(|part| part.map_or_else(String::new, number)));
        row.push(number(sum));
        Some(row)
    });
    table(&head, rows)
}

fn ceilings(figures: &Figures) -> String {
    let rows = [
        ("confirmed publishes into a quorum queue, 256 on their way", "ceiling.broker.published_per_second"),
        ("consumed and acknowledged", "ceiling.broker.consumed_per_second"),
        ("the way of a job without HTTP and Python, bare clients", "ceiling.bare.per_second"),
        ("the same through Sortie's ports", "ceiling.ports.per_second"),
    ];
    let ours = figures.get(SORTIE, "throughput.noop_warm");
    let rows = rows.into_iter().filter_map(|(label, what)| {
        let value = figures.get(CEILING, what)?;
        let share = ours.map_or_else(String::new, |ours| format!("{:.2}", ours / value));
        Some(vec![label.to_owned(), cell(figures, CEILING, what), share])
    });
    table(&["", "per second", "Sortie's warm no-op, as a share"], rows)
}

fn idle(figures: &Figures) -> String {
    let parts = ["dispatcher", "worker", "serve", "python", "rabbitmq", "redis"];
    let rows = [SORTIE, EMBEDDED].into_iter().chain(PEERS).filter_map(|who| {
        let values = parts.map(|part| figures.get(who, &format!("idle.{part}_percent")));
        values.iter().any(Option::is_some).then(|| {
            let cells = values.map(|value| value.map_or_else(String::new, |value| format!("{value:.2}")));
            [who.to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
        })
    });
    table(&["", "dispatcher", "worker", "serve", "its processes", "RabbitMQ", "Redis"], rows)
}

fn backlog(figures: &Figures) -> String {
    let mut rows = Vec::new();
    for jobs in [1_000, 10_000, 100_000] {
        for who in [SORTIE].into_iter().chain(PEERS) {
            let value = |part: &str| figures.get(who, &format!("backlog.{jobs}.{part}"));
            let Some(drained) = value("drained_per_second") else { continue };
            let others = ["accepted_per_second", "worker_mib", "dispatcher_mib"]
                .map(|part| value(part).map_or_else(String::new, number));
            let [accepted, worker, dispatcher] = others;
            rows.push([
                number(f64::from(jobs)),
                who.to_owned(),
                accepted,
                number(drained),
                worker,
                dispatcher,
            ]);
        }
    }
    table(&["jobs", "", "accepted/s", "worked off/s", "worker, peak MiB", "dispatcher, MiB"], rows)
}

fn generator(figures: &Figures) -> String {
    let mut rows = Vec::new();
    for (label, what) in [
        ("most requests per second, against a server that does nothing", "generator.per_second"),
        ("its processor time for a request, µs", "generator.cpu_us"),
    ] {
        rows.extend(figures.get(SORTIE, what).map(|value| [label.to_owned(), number(value)]));
    }
    let share = figures.get(SORTIE, "throughput.noop_warm").zip(figures.get(SORTIE, "cpu.noop_warm.load"));
    let share = share.map(|(rate, cost)| format!("{:.0} %", rate * cost / 10_000.0));
    rows.extend(share.map(|share| ["its share of a core in the warm no-op above".to_owned(), share]));
    table(&["", ""], rows)
}

fn section(text: &mut String, title: &str, table: String) {
    if !table.is_empty() {
        // Writing into a string doesn't fail.
        let _ = write!(text, "\n## {title}\n\n{table}");
    }
}

/// Nothing if there are no rows.
fn table<R: IntoIterator<Item = String>>(head: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rows: String = rows.into_iter().map(|row| line(row.into_iter().collect())).collect();
    if rows.is_empty() {
        return rows;
    }
    let rule = format!("|---|{}\n", "---:|".repeat(head.len() - 1));
    line(head.iter().map(|cell| (*cell).to_owned()).collect()) + &rule + &rows
}

/// The median, and the spread where rounds differ.
fn cell(figures: &Figures, who: &str, what: &str) -> String {
    let Some((median, values)) = figures.get(who, what).zip(figures.values(who, what)) else {
        return String::new();
    };
    let ends =
        [f64::min, f64::max].map(|end| values.iter().copied().reduce(end).map_or_else(String::new, number));
    let [low, high] = ends;
    if low == high { number(median) } else { format!("{} ({low} to {high})", number(median)) }
}

/// Three digits that say something, and thousands apart.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.split('.').next().unwrap_or_default().len();
    if whole <= 3 {
        return text;
    }
    let (thousands, rest) = text.split_at(whole - 3);
    format!("{thousands},{rest}")
}
