//! How a function becomes a test.

use std::env;
use std::process::Command;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Completion, Failed, Trial};

/// Held by every running test, and alone by one that measures rates or memory.
static MACHINE: RwLock<()> = RwLock::new(());

/// What a test needs and this machine lacks.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Missing {}

/// A test that runs beside others.
pub(crate) fn test<R>(name: impl Into<String>, run: R) -> Trial
where
    R: FnOnce() -> anyhow::Result<()> + Send + 'static,
{
    Trial::ignorable_test(name, || {
        let _beside = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        completion(run())
    })
}

/// A test that has the machine for itself.
pub(crate) fn alone<R>(name: impl Into<String>, run: R) -> Trial
where
    R: FnOnce() -> anyhow::Result<()> + Send + 'static,
{
    Trial::ignorable_test(name, || {
        let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        completion(run())
    })
}

/// A test that cannot run here.
pub(crate) fn instead(trial: &Trial, why: String) -> Trial {
    Trial::ignorable_test(trial.name(), || completion(Err(Missing(why).into())))
}

fn completion(result: anyhow::Result<()>) -> Result<Completion, Failed> {
    match result {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast_ref::<Missing>() {
            Some(missing) if !pilot_tests::must_run() => {
                Ok(Completion::ignored_with(missing.to_string()))
            }
            Some(missing) => Err(format!("cannot be ignored here: {missing}").into()),
            None => Err(format!("{error:#}").into()),
        },
    }
}

/// A tool of a package, or the reason to ignore the test.
pub(crate) fn installed(tool: &str, package: &str) -> anyhow::Result<Command> {
    let mut folders = env::var_os("PATH").into_iter().flat_map(|path| {
        env::split_paths(&path).map(|folder| folder.join(tool)).collect::<Vec<_>>()
    });
    if folders.any(|path| path.is_file()) {
        Ok(Command::new(tool))
    } else {
        Err(Missing(format!("{tool} of the package {package} is not installed")).into())
    }
}
