//! The contract of the command line: what goes to stdout, what to stderr, and
//! with which exit code.

mod content;
mod doctor;
mod document;
mod metrics;
mod netcheck;
mod paths;
mod relayed;
mod rules;
mod waiting;
