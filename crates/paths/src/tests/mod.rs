//! The rules of the whole machine, one at a time, by a clock that stands still.

mod bench;
mod birthday;
mod calls;
mod choosing;
mod limits;
mod model;
mod probes;
