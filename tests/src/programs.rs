//! The programs under test, built once.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, bail};

/// Where the three programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

impl Programs {
    /// Builds the programs as this test binary was built (debug or release);
    /// a second call in the same process only looks.
    ///
    /// # Errors
    ///
    /// If the build fails; its output went to stderr.
    pub fn built() -> anyhow::Result<Self> {
        static BUILT: OnceLock<Result<Programs, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| Self::build().map_err(|error| format!("{error:#}")));
        match built {
            Ok(programs) => Ok(programs.clone()),
            Err(error) => bail!("{error}"),
        }
    }

    /// The programs as they were built before this one was started, for where
    /// nothing can be built.
    ///
    /// # Errors
    ///
    /// If one of them is missing.
    pub fn found() -> anyhow::Result<Self> {
        let folder = built_into()?;
        for program in ["pilot-rendezvous", "pilot-daemon", "pilotctl"] {
            if !folder.join(program).is_file() {
                bail!("{program} is not in {}", folder.display());
            }
        }
        Ok(Self { folder, variables: Vec::new() })
    }

    /// The same with one more variable in their environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn build() -> anyhow::Result<Self> {
        let folder = built_into()?;
        let release = folder.file_name().is_some_and(|name| name == "release");
        let target = folder.parent().context("this program is in no target folder")?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--quiet", "--bins"])
            .args(["-p", "pilot-rendezvous", "-p", "pilot-daemon", "-p", "pilot-ctl"])
            .args(release.then_some("--release"))
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let status = cargo.status().context("cannot run cargo")?;
        if !status.success() {
            bail!("building the programs failed");
        }
        Ok(Self { folder, variables: Vec::new() })
    }

    /// The folder that holds all of them, to be put on `PATH`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command for one of them, with an environment that says nothing of Pilot.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PILOT_") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").envs(self.variables.iter().cloned());
        command
    }
}

/// The folder of this program and of those under test.
fn built_into() -> anyhow::Result<PathBuf> {
    let exe = env::current_exe().context("cannot find this program")?;
    // target/<profile>/deps/it-… or target/<profile>/pilot-demo
    exe.ancestors()
        .skip(1)
        .find(|folder| folder.file_name().is_some_and(|name| name != "deps"))
        .map(Path::to_owned)
        .context("this program is in no target folder")
}
