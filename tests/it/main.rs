//! Real programs on loopback: what only programs can show.

mod article;
mod cli;
mod crash;
mod hostile;
mod rendezvous;
mod rooms;
mod trust;
