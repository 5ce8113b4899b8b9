//! A manager and workers that do what a function says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{AcceptedTask, SendResultsRequest};
use pilot_tests::Team;

/// What was done, by whom, in the order in which it ended.
pub(crate) type Done = Arc<Mutex<Vec<(String, TaskId)>>>;

/// Workers at their work until it is dropped.
pub(crate) struct Crew {
    over: Arc<AtomicBool>,
    hands: Vec<JoinHandle<()>>,
    pub(crate) done: Done,
}

/// A hub that all workers trust; they trust each other if `meshed`.
pub(crate) fn team(workers: &[(&str, &[&str])], meshed: bool) -> Team {
    let mut team = Team::start(&["manager"]).unwrap();
    for (name, flags) in workers {
        team.add(name, flags).unwrap();
        team.trust("manager", name).unwrap();
    }
    if meshed {
        for (at, (one, _)) in workers.iter().enumerate() {
            for (other, _) in &workers[at + 1..] {
                team.trust(one, other).unwrap();
            }
        }
    }
    team
}

impl Crew {
    /// One hand on each node, which does `work`.
    pub(crate) fn start(
        team: &Team,
        names: &[&str],
        work: impl Fn(&str, &AcceptedTask) -> SendResultsRequest + Clone + Send + 'static,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let done = Done::default();
        let hands = names.iter().map(|name| {
            let (api, name) = (team.api(name).unwrap(), (*name).to_owned());
            let (over, done, work) = (Arc::clone(&over), Arc::clone(&done), work.clone());
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let accepted = api.accept_within(Duration::from_millis(300));
                    let Ok(Some(task)) = accepted else { continue };
                    let result = work(&name, &task);
                    done.lock().unwrap().push((name.clone(), task.id));
                    drop(api.send_results_as(task.id, &result));
                }
            })
        });
        let hands = hands.collect();
        Self { over, hands, done }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for hand in self.hands.drain(..) {
            drop(hand.join());
        }
    }
}
