//! What is left out of a transfer because somebody said so.
//!
//! Globs are read as lines of a `.gitignore` at the top of what is sent, and
//! so are those of the `.gitignore` files themselves, if they are asked for:
//! those in the folders that are sent and those above, up to where the
//! repository begins.

use std::io;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

const RULES: &str = ".gitignore";
const REPOSITORY: &str = ".git";

/// The rules that hold in a folder.
#[derive(Debug)]
pub(crate) struct Ignored {
    globs: Gitignore,
    /// None if no `.gitignore` counts. The last are those of the folder
    /// itself, and go before those above.
    rules: Option<Vec<Gitignore>>,
}

impl Ignored {
    /// # Errors
    ///
    /// The first glob that is none, and what is wrong with it.
    pub(crate) fn by(globs: &[String], gitignore: bool) -> Result<Self, (String, ignore::Error)> {
        let mut builder = GitignoreBuilder::new("");
        for glob in globs {
            builder.add_line(None, glob).map_err(|error| (glob.clone(), error))?;
        }
        let globs = builder.build().map_err(|error| (globs.join(" "), error))?;
        Ok(Self { globs, rules: gitignore.then(Vec::new) })
    }

    /// Takes the rules of the folders that this one is in.
    pub(crate) fn stand_in(&mut self, folder: &Path) -> io::Result<()> {
        let Some(rules) = &mut self.rules else { return Ok(()) };
        rules.clear();
        let begins = |folder: &Path| folder.join(REPOSITORY).exists();
        let to_top = folder.ancestors().position(begins).unwrap_or(0);
        let mut folders: Vec<&Path> = folder.ancestors().skip(1).take(to_top).collect();
        folders.reverse();
        folders.into_iter().try_for_each(|folder| self.enter(folder))
    }

    /// Takes the rules of a folder in the last one.
    pub(crate) fn enter(&mut self, folder: &Path) -> io::Result<()> {
        let Some(rules) = &mut self.rules else { return Ok(()) };
        let path = folder.join(RULES);
        let mut builder = GitignoreBuilder::new(folder);
        // As git does, which follows no link to its rules and passes over
        // lines that mean nothing.
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
            && let Some(error) = builder.add(&path)
            && let Some(error) = error.into_io_error()
        {
            return Err(error);
        }
        rules.push(builder.build().unwrap_or_else(|_| Gitignore::empty()));
        Ok(())
    }

    /// Leaves the folder that was entered last.
    pub(crate) fn leave(&mut self) {
        if let Some(rules) = &mut self.rules {
            drop(rules.pop());
        }
    }

    /// Whether something stays behind; `sent` is its path as it would be sent.
    pub(crate) fn has(&self, path: &Path, sent: &Path, is_folder: bool) -> bool {
        if self.globs.matched(sent, is_folder).is_ignore() {
            return true;
        }
        let Some(rules) = &self.rules else { return false };
        let is_repository = path.file_name().is_some_and(|name| name == REPOSITORY);
        let mut matches = rules.iter().rev().map(|rules| rules.matched(path, is_folder));
        let decided = matches.find(|found| !found.is_none());
        is_repository || decided.is_some_and(|found| found.is_ignore())
    }
}
