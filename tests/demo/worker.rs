//! A specialist's worker loop, as a shell script would write it: accept, work, send results.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use pilot_tests::Node;
use serde_json::Value;

/// Serves one node until it is dropped.
pub(crate) struct Worker {
    over: Arc<AtomicBool>,
    accepting: Arc<Mutex<Option<Child>>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(node: &Node) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let accepting = Arc::new(Mutex::new(None));
        let accept = node.command(&["task", "accept", "--json", "--timeout", "30"]);
        let send = node.command(&["task", "send-results"]);
        let thread = thread::spawn({
            let (over, accepting) = (Arc::clone(&over), Arc::clone(&accepting));
            move || serve(accept, send, &over, &accepting)
        });
        Self { over, accepting, thread: Some(thread) }
    }
}

fn serve(
    mut accept: Command,
    mut send: Command,
    over: &AtomicBool,
    accepting: &Mutex<Option<Child>>,
) {
    let running = || accepting.lock().unwrap_or_else(PoisonError::into_inner);
    accept.stdout(Stdio::piped());
    send.stdout(Stdio::null());
    while !over.load(Ordering::SeqCst) {
        let Ok(mut child) = accept.spawn() else { return };
        let stdout = child.stdout.take();
        *running() = Some(child);
        let mut printed = String::new();
        if stdout.is_none_or(|mut stdout| stdout.read_to_string(&mut printed).is_err()) {
            return;
        }
        if let Some(mut child) = running().take() {
            // Killed when the worker was dropped.
            drop(child.wait());
        }
        let Ok(task) = serde_json::from_str::<Value>(&printed) else { continue };
        let text = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or_default();
        let result = format!("done: {} ({} parameters)", text("description"), params(&task));
        send.args(["--task-id", text("id"), "--data", &result]);
        if send.status().is_err() {
            return;
        }
        return;
    }
}

fn params(task: &Value) -> usize {
    task.get("params").and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = accepting {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
