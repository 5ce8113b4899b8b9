//! What the project must reach, measured on real programs and printed as JSON lines.
//!
//! `cargo bench-pilot` runs everything, `cargo bench-pilot --only NAME` what
//! begins with `NAME`, `cargo bench-pilot --list` says what there is. The
//! folder's README has what was measured. Medians and ratios to a baseline
//! taken in the same run are what counts: absolute times are the machine's.

mod bare;
mod beacon;
mod client;
mod commands;
mod connections;
mod crowd;
mod events;
mod fairness;
mod files;
mod first_byte;
mod forward;
mod history;
mod idle;
mod line;
mod load;
mod lossy;
mod node;
mod pair;
mod procfs;
mod registry;
mod role;
mod samples;
mod switching;
mod tap;
mod tasks;
mod throughput;
mod tunnel;
mod workers;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use line::Line;
use pilot_tests::Programs;

/// One measure: its lines begin with its name.
struct Measure {
    name: &'static str,
    about: &'static str,
    run: Run,
}

/// What it needs.
enum Run {
    /// The three programs, built as this one is.
    Programs(fn(&Programs) -> anyhow::Result<Vec<Line>>),
    /// Nothing but this program.
    Alone(fn() -> anyhow::Result<Vec<Line>>),
}

/// Everything that is measured, in the order in which it runs.
const MEASURES: &[Measure] = &[
    Measure {
        name: "whoami",
        about: "`pilotctl whoami`, wall time",
        run: Run::Programs(commands::whoami),
    },
    Measure {
        name: "start",
        about: "daemon start to registered",
        run: Run::Programs(commands::start),
    },
    Measure {
        name: "trust",
        about: "first `trust` of two private nodes until both are trusted",
        run: Run::Programs(commands::trust),
    },
    Measure {
        name: "task_processes",
        about: "a task by three processes, submit to result",
        run: Run::Programs(commands::task),
    },
    Measure {
        name: "task_api_one",
        about: "a task, one in flight",
        run: Run::Programs(tasks::one_in_flight),
    },
    Measure {
        name: "task_api_many",
        about: "tasks, 64 in flight",
        run: Run::Programs(tasks::many_in_flight),
    },
    Measure {
        name: "history",
        about: "list, accept and start with 100,000 finished tasks",
        run: Run::Programs(history::with_history),
    },
    Measure {
        name: "worker_run",
        about: "1,000 tasks of `true` through `worker run --slots 4`",
        run: Run::Programs(workers::serve),
    },
    Measure {
        name: "echo",
        about: "an echo over an open tunnel",
        run: Run::Programs(tunnel::echo),
    },
    Measure {
        name: "connect",
        about: "a cold mutual connect",
        run: Run::Programs(tunnel::connect),
    },
    Measure {
        name: "idle_connection",
        about: "resident memory of an idle connection",
        run: Run::Alone(connections::memory),
    },
    Measure {
        name: "idle_daemon",
        about: "idle daemons: memory, packets, CPU",
        run: Run::Programs(idle::pair),
    },
    Measure {
        name: "relay_throughput",
        about: "bulk through a beacon, and its CPU time, beside bare quinn",
        run: Run::Alone(throughput::relayed_and_direct),
    },
    Measure {
        name: "lossy",
        about: "bulk at 1 % loss and 50 ms round trip, beside bare quinn",
        run: Run::Alone(lossy::stream),
    },
    Measure {
        name: "relay_idle_clients",
        about: "resident memory of 5,000 idle clients of a beacon",
        run: Run::Alone(crowd::memory),
    },
    Measure {
        name: "relay_fairness",
        about: "what a flood through a beacon leaves to others",
        run: Run::Alone(fairness::pairs),
    },
    Measure {
        name: "first_byte",
        about: "first contact to first byte over links of 20 ms",
        run: Run::Alone(first_byte::round_trips),
    },
    Measure {
        name: "switch_pause",
        about: "how long a transfer stands still when its path changes",
        run: Run::Alone(switching::pauses),
    },
    Measure {
        name: "files_large",
        about: "a large file between two daemons, beside a bare quinn stream",
        run: Run::Programs(files::large),
    },
    Measure {
        name: "files_small",
        about: "10,000 small files between two daemons",
        run: Run::Programs(files::small),
    },
    Measure {
        name: "files_lossy",
        about: "a file at 1 % loss and 50 ms round trip",
        run: Run::Programs(files::lossy),
    },
    Measure {
        name: "events_one",
        about: "events from one daemon to another",
        run: Run::Programs(events::one_subscriber),
    },
    Measure {
        name: "events_ten",
        about: "events from one daemon to ten",
        run: Run::Programs(events::ten_subscribers),
    },
    Measure {
        name: "events_latency",
        about: "one event at a time, 2,000 a second",
        run: Run::Programs(events::latency),
    },
    Measure {
        name: "files_relayed",
        about: "a file through a relay, beside a bare stream through one",
        run: Run::Programs(files::relayed),
    },
    Measure {
        name: "files_beside_tasks",
        about: "tasks beside transfers that take all they get",
        run: Run::Programs(files::tasks),
    },
    Measure {
        name: "registry_register",
        about: "first registrations, each on a connection of its own",
        run: Run::Programs(registry::registrations),
    },
    Measure { name: "registry_lookup", about: "look-ups", run: Run::Programs(registry::lookups) },
    Measure {
        name: "registry_memory",
        about: "the rendezvous with 10,000 connected nodes",
        run: Run::Programs(registry::memory),
    },
];

/// What this program does as a process of a measure, with these arguments.
type Role = fn(&[String]) -> anyhow::Result<()>;

const ROLES: &[(&str, Role)] = &[
    (beacon::ROLE, beacon::serve),
    (connections::ROLE, connections::serve),
    (fairness::ROLE, fairness::flood),
    (files::ROLE, files::sink),
    (forward::ROLE, forward::serve),
    (throughput::ROLE, throughput::receive),
];

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
            role::FLAG => return play(&args.collect::<Vec<_>>()).map(|()| true),
            other => bail!("unknown argument {other}; there are --list and --only NAME"),
        }
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| name.starts_with(only));
    let measures: Vec<&Measure> = MEASURES.iter().filter(|measure| wanted(measure.name)).collect();
    if measures.is_empty() {
        bail!("no measure begins with {only:?}; see --list");
    }
    load::raise_descriptor_limit();
    let needs_programs = |measure: &&Measure| matches!(measure.run, Run::Programs(_));
    let programs = measures.iter().any(needs_programs).then(Programs::built).transpose()?;
    say(&line::machine())?;
    let mut all = true;
    for measure in measures {
        let lines = match (&measure.run, &programs) {
            (Run::Programs(run), Some(programs)) => run(programs),
            (Run::Programs(_), None) => Err(anyhow!("the programs were not built")),
            (Run::Alone(run), _) => run(),
        };
        match lines {
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

/// Runs as one of [`ROLES`].
fn play(words: &[String]) -> anyhow::Result<()> {
    let (role, args) = words.split_first().context("--role needs a name")?;
    let (_, run) = ROLES.iter().find(|(name, _)| name == role).context("no such role")?;
    load::raise_descriptor_limit();
    run(args)
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
