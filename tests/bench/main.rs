//! What the project must reach, measured on real programs and printed as JSON lines.
//!
//! `cargo bench-pilot` runs everything, `cargo bench-pilot --only NAME` what
//! begins with `NAME`, `cargo bench-pilot --list` says what there is. The
//! folder's README has what was measured. Medians and ratios to a baseline
//! taken in the same run are what counts: absolute times are the machine's.

mod bare;
mod commands;
mod connections;
mod idle;
mod line;
mod load;
mod pair;
mod procfs;
mod registry;
mod samples;
mod tap;
mod tasks;
mod tunnel;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use line::Line;
use pilot_tests::Programs;

/// One measure: its lines begin with its name.
struct Measure {
    name: &'static str,
    about: &'static str,
    run: fn(&Programs) -> anyhow::Result<Vec<Line>>,
}

/// Everything that is measured, in the order in which it runs.
const MEASURES: &[Measure] = &[
    Measure { name: "whoami", about: "`pilotctl whoami`, wall time", run: commands::whoami },
    Measure { name: "start", about: "daemon start to registered", run: commands::start },
    Measure {
        name: "trust",
        about: "first `trust` of two private nodes until both are trusted",
        run: commands::trust,
    },
    Measure {
        name: "task_processes",
        about: "a task by three processes, submit to result",
        run: commands::task,
    },
    Measure { name: "task_api_one", about: "a task, one in flight", run: tasks::one_in_flight },
    Measure { name: "task_api_many", about: "tasks, 64 in flight", run: tasks::many_in_flight },
    Measure { name: "echo", about: "an echo over an open tunnel", run: tunnel::echo },
    Measure { name: "connect", about: "a cold mutual connect", run: tunnel::connect },
    Measure {
        name: "idle_connection",
        about: "resident memory of an idle connection",
        run: connections::memory,
    },
    Measure { name: "idle_daemon", about: "idle daemons: memory, packets, CPU", run: idle::pair },
    Measure {
        name: "registry_register",
        about: "first registrations, each on a connection of its own",
        run: registry::registrations,
    },
    Measure { name: "registry_lookup", about: "look-ups", run: registry::lookups },
    Measure {
        name: "registry_memory",
        about: "the rendezvous with 10,000 connected nodes",
        run: registry::memory,
    },
];

/// The hidden role in which the program is a process of its own with one end
/// of many connections.
const SERVE: &str = "--serve-connections";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whether every measure could be taken; a missed target is no failure.
fn run() -> anyhow::Result<bool> {
    let mut only = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => return list().map(|()| true),
            "--only" => only.push(args.next().context("--only needs a name")?),
            SERVE => return connections::serve().map(|()| true),
            other => bail!("unknown argument {other}; there are --list and --only NAME"),
        }
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| name.starts_with(only));
    let measures: Vec<&Measure> = MEASURES.iter().filter(|measure| wanted(measure.name)).collect();
    if measures.is_empty() {
        bail!("no measure begins with {only:?}; see --list");
    }
    load::raise_descriptor_limit();
    let programs = Programs::built()?;
    say(&line::machine())?;
    let mut all = true;
    for measure in measures {
        match (measure.run)(&programs) {
            Ok(lines) => {
                for line in lines {
                    say(&line.finish())?;
                }
            }
            Err(error) => {
                all = false;
                complain(&format!("{} was not measured: {error:#}", measure.name));
            }
        }
    }
    Ok(all)
}

fn list() -> anyhow::Result<()> {
    for Measure { name, about, .. } in MEASURES {
        say(&format!("{name:18} {about}"))?;
    }
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").context("stdout is closed")?;
    stdout.flush().context("stdout is closed")
}

fn complain(text: &str) {
    // Nothing can be done if stderr is closed.
    drop(writeln!(io::stderr(), "pilot-bench: {text}"));
}
