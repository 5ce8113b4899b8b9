//! A thread with a runtime of its own, for what must not wait for the rest.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Work on a thread of its own. Dropped, it is told to end and not waited for.
#[derive(Debug)]
pub(crate) struct Worker {
    name: &'static str,
    stop: DropGuard,
    ended: CancellationToken,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts `work`, which ends when its token is cancelled, or fails.
    pub(crate) fn start<W, F>(name: &'static str, work: W) -> io::Result<Self>
    where
        W: FnOnce(CancellationToken) -> F + Send + 'static,
        F: Future<Output = io::Result<()>>,
    {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, guard) = (stop.clone(), ended.clone().drop_guard());
        let run = move || {
            // Told however it ends, a panic included.
            let _ended = guard;
            if let Err(error) = runtime.block_on(work(stopped)) {
                tracing::error!(name, %error, "a thread failed");
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { name, stop: stop.drop_guard(), ended, thread })
    }

    /// Waits until it has ended, which it should not do by itself. Cancel safe.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends it, and waits for that.
    ///
    /// Not cancel safe: dropped, the thread ends without anybody waiting.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.ended.cancelled().await;
        if self.thread.join().is_err() {
            tracing::error!(name = self.name, "a thread did not end well");
        }
    }
}
