//! What loads need: a runtime, keys, descriptors.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use pilot_identity::NodeKey;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zeroize::Zeroizing;

/// How long anything may take before the measure fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a waiting `task accept` is given to reach its daemon.
pub(crate) const ACCEPT_HEAD_START: Duration = Duration::from_millis(20);

/// Runs `work` on a runtime of one thread, as the programs do.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(Box::pin(work))
}

/// A key that nobody else has in this run.
pub(crate) fn key(number: usize) -> NodeKey {
    let mut seed = Zeroizing::new([0; 32]);
    for (to, from) in seed.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    NodeKey::from_seed(&seed)
}

/// Lets this process, and those it starts, have as many sockets as the system allows.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        crate::complain(&format!("cannot raise the limit of open files: {error}"));
    }
}
