//! Kills submitter and worker at every point of a task's life.
//!
//! A point is each moment between two effects: before and after a commit,
//! before and after each message, before and after each word to a user. The
//! points are counted in a run without a crash and then gone through one by
//! one, for each side, for both at once, and in pairs.

#[cfg(test)]
mod disk;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod world;

use scenario::{Order, Scenario};
use world::{Crash, Extent, Side, World};

/// Runs `scenario` with these crashes to its end and checks every promise.
fn check(scenario: Scenario, crashes: &[Crash]) -> World {
    let mut world = World::new(scenario, crashes.to_vec());
    world.run();
    world.replay_everything();
    world.check();
    world
}

/// Goes through every point of both sides, alone and with both dying at once.
fn enumerate_single(scenario: Scenario) -> usize {
    let calm = check(scenario, &[]);
    let mut runs = 0;
    for side in [Side::Submitter, Side::Worker] {
        for at in 1..=calm.points(side) {
            for extent in [Extent::One, Extent::Both] {
                let world = check(scenario, &[Crash { side, at, extent }]);
                assert_eq!(world.crashes_left(), 0, "{scenario:?}: point {at} was not reached");
                runs += 1;
            }
        }
    }
    runs
}

#[test]
fn a_task_survives_every_crash_point() {
    let runs = enumerate_single(Scenario::plain());

    assert!(runs >= 80, "only {runs} crash points");
}

#[test]
fn a_task_survives_every_crash_point_when_everything_happens_at_once() {
    for order in [Order::Busy, Order::Hasty] {
        let runs = enumerate_single(Scenario { order, ..Scenario::plain() });

        assert!(runs >= 60, "only {runs} crash points");
    }
}

#[test]
fn a_task_survives_every_crash_point_among_many_duplicates() {
    let runs = enumerate_single(Scenario { copies: 5, ..Scenario::plain() });

    assert!(runs >= 140, "only {runs} crash points");
}

#[test]
fn a_cancellation_survives_every_crash_point_whenever_it_comes() {
    for scenario in Scenario::cancelled() {
        let runs = enumerate_single(scenario);

        assert!(runs >= 40, "only {runs} crash points in {scenario:?}");
    }
}

#[test]
fn a_deadline_survives_every_crash_point() {
    let runs = enumerate_single(Scenario::expiring());

    assert!(runs >= 80, "only {runs} crash points");
}

#[test]
fn a_declined_task_survives_every_crash_point() {
    let runs = enumerate_single(Scenario::declined());

    assert!(runs >= 60, "only {runs} crash points");
}

#[test]
fn a_task_with_files_survives_every_crash_point() {
    for order in [Order::Calm, Order::Busy, Order::Hasty] {
        let runs = enumerate_single(Scenario { order, copies: 2, ..Scenario::with_files() });

        assert!(runs >= 120, "only {runs} crash points");
    }
}

#[test]
fn a_cancelled_task_with_files_survives_every_crash_point() {
    for scenario in Scenario::cancelled() {
        let files = Scenario::with_files().task_files;
        let runs =
            enumerate_single(Scenario { task_files: files, result_files: files, ..scenario });

        assert!(runs >= 20, "only {runs} crash points in {scenario:?}");
    }
}

#[test]
fn a_task_whose_files_do_not_get_there_survives_every_crash_point() {
    for scenario in Scenario::without_their_files() {
        for order in [Order::Calm, Order::Busy, Order::Hasty] {
            let runs = enumerate_single(Scenario { order, ..scenario });

            assert!(runs >= 18, "only {runs} crash points in {scenario:?}");
        }
    }
}

#[test]
fn a_task_survives_a_crash_of_each_side_at_every_pair_of_points() {
    let mut runs = 0;
    let cancelled = Scenario::cancelled()[9];
    let scenarios = [Scenario::plain(), Scenario::expiring(), cancelled, Scenario::with_files()];
    for scenario in scenarios {
        let calm = check(scenario, &[]);
        for submitter in 1..=calm.points(Side::Submitter) {
            for worker in 1..=calm.points(Side::Worker) {
                let extent = Extent::One;
                let crashes = [
                    Crash { side: Side::Submitter, at: submitter, extent },
                    Crash { side: Side::Worker, at: worker, extent },
                ];
                // The first crash may make the way shorter than the second point.
                runs += usize::from(check(scenario, &crashes).crashes_left() == 0);
            }
        }
    }

    assert!(runs >= 1_000, "only {runs} pairs of crash points");
}

#[test]
fn a_task_survives_a_second_crash_during_recovery() {
    let scenario = Scenario::plain();
    let calm = check(scenario, &[]);
    let mut runs = 0;

    for side in [Side::Submitter, Side::Worker] {
        for at in 1..=calm.points(side) {
            for after in 1..=4 {
                let first = Crash { side, at, extent: Extent::One };
                let crashes = [first, Crash { at: at + after, ..first }];
                runs += usize::from(check(scenario, &crashes).crashes_left() == 0);
            }
        }
    }

    assert!(runs >= 150, "only {runs} crashes during recovery");
}
