//! Many tasks at once, real programs on loopback: dependencies, groups,
//! placement, attempts, and results that go from worker to worker.

#[cfg(test)]
mod chain;
#[cfg(test)]
mod crew;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod pools;
