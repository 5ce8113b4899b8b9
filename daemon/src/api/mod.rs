//! The local API: HTTP and JSON on the unix socket of the home folder.
//!
//! A handler turns a request into one call of a service and its answer into a
//! view; it decides nothing. Only processes of the daemon's own user, and
//! root, are served.

mod doctor;
mod event_lines;
mod events;
mod exposition;
mod extract;
mod failure;
mod identity;
mod inbox;
mod inputs;
mod listener;
mod logs;
mod messages;
mod metrics;
mod network;
mod new_task;
mod openapi;
mod peers;
mod polo;
mod results;
mod server;
mod status;
mod submitted;
mod task_files;
mod task_views;
mod tasks;
mod transfer_views;
mod transfers;
mod trust;
mod views;
mod worker;

pub(crate) use server::Server;
