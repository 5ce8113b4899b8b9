//! The content of tasks and of results.
//!
//! A body is postcard. Its first layout never changes; what was added since
//! follows it as a second postcard, the extras, and is left out while it says
//! nothing. Programs that know no extras read the body and pass over them.

use std::collections::BTreeSet;

use bytes::Bytes;
use pilot_identity::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Attached, MAX_DESCRIPTION, MAX_FILES, MAX_INLINE, MAX_NOTE, MAX_PARAMS};
use crate::list;
use crate::text::Text;
use crate::{FileName, TaskId};

/// Bytes of the key of tasks that run one at a time.
pub const MAX_EXCLUSIVE: usize = 128;
/// Inputs of a task.
pub const MAX_INPUTS: usize = 64;
/// Bytes of the permission to fetch an input.
pub const MAX_PASS: usize = 1024;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskBody {
    /// For whoever does it; at most [`MAX_DESCRIPTION`] bytes.
    pub description: String,
    /// Names and values in the order they were given; at most [`MAX_PARAMS`].
    #[serde(deserialize_with = "list::at_most::<MAX_PARAMS, _, _>")]
    pub params: Vec<(String, String)>,
    /// Small files that come with it.
    #[serde(deserialize_with = "list::at_most::<MAX_FILES, _, _>")]
    pub files: Vec<InlineFile>,
    /// Files and folders of any size that come with it.
    pub attached: Option<Attached>,
    /// What was added to the first layout.
    #[serde(skip)]
    pub extras: TaskExtras,
}

/// What was added to [`TaskBody`] since its first layout.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskExtras {
    /// Of all tasks with this key one is worked on at a time; 1 to
    /// [`MAX_EXCLUSIVE`] bytes.
    pub exclusive: Option<String>,
    /// That files of the result stay with the worker, which gives them to
    /// whoever shows a permission.
    pub leave_result: bool,
    /// Results of earlier tasks that this one works on.
    #[serde(deserialize_with = "list::at_most::<MAX_INPUTS, _, _>")]
    pub inputs: Vec<InputRef>,
}

/// The result of an earlier task, for the worker of a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRef {
    /// Of which task.
    pub task: TaskId,
    /// Of which attempt at it.
    pub attempt: u32,
    /// Who did it, and may still have it.
    pub worker: NodeId,
    /// The digest of its encoded [`ResultBody`].
    pub digest: [u8; 32],
    /// Bytes of its encoded [`ResultBody`].
    pub len: u64,
    /// What its worker gives it out for; at most [`MAX_PASS`] bytes.
    pub pass: Option<Bytes>,
    /// The encoded [`ResultBody`] itself, if it came along.
    pub content: Option<Bytes>,
}

/// A small file inside a task or a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineFile {
    /// What it is called.
    pub name: FileName,
    /// Its content.
    pub content: Bytes,
}

/// What came out of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResultBody {
    /// The result itself, as it was given.
    pub data: Bytes,
    /// Whether the worker said that `data` is a JSON document.
    pub is_json: bool,
    /// Why it failed, was declined, cancelled or expired.
    pub reason: Text<MAX_NOTE>,
    /// Small files that come with it.
    #[serde(deserialize_with = "list::at_most::<MAX_FILES, _, _>")]
    pub files: Vec<InlineFile>,
    /// Files and folders of any size that come with it.
    pub attached: Option<Attached>,
    /// What was added to the first layout.
    #[serde(skip)]
    pub extras: ResultExtras,
}

/// What was added to [`ResultBody`] since its first layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResultExtras {
    /// That another attempt would fail, too.
    pub no_retry: bool,
    /// That the worker's process was gone under it too often.
    pub lost: bool,
}

/// Content that breaks a limit of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The description is too long.
    #[error("the description has {0} bytes, {MAX_DESCRIPTION} are allowed")]
    Description(usize),
    /// There are too many parameters.
    #[error("{0} parameters, {MAX_PARAMS} are allowed")]
    Params(usize),
    /// A parameter is named twice.
    #[error("a parameter is given twice")]
    RepeatedParam,
    /// There are too many files, or two of the same name.
    #[error("{0} files, {MAX_FILES} of different names are allowed")]
    Files(usize),
    /// All together is too large.
    #[error("{0} bytes of content, {MAX_INLINE} are allowed inside a message")]
    Inline(usize),
    /// The key of what runs one at a time is empty or too long.
    #[error("the exclusive key has {0} bytes, 1 to {MAX_EXCLUSIVE} are allowed")]
    Exclusive(usize),
    /// There are too many inputs, or two of the same task.
    #[error("{0} inputs, {MAX_INPUTS} of different tasks are allowed")]
    Inputs(usize),
    /// The permission of an input is too long.
    #[error("the permission of an input has {0} bytes, {MAX_PASS} are allowed")]
    Pass(usize),
}

/// Bytes that are no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of a task or result is malformed")]
pub struct BodyError;

impl TaskBody {
    /// Checks every limit.
    ///
    /// # Errors
    ///
    /// The first [`ContentError`] found.
    pub fn check(&self) -> Result<(), ContentError> {
        if self.description.len() > MAX_DESCRIPTION {
            return Err(ContentError::Description(self.description.len()));
        }
        if self.params.len() > MAX_PARAMS {
            return Err(ContentError::Params(self.params.len()));
        }
        let names: BTreeSet<&str> = self.params.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() != self.params.len() {
            return Err(ContentError::RepeatedParam);
        }
        let params: usize = self.params.iter().map(|(name, value)| name.len() + value.len()).sum();
        let inputs = self.extras.check()?;
        check_files(&self.files, self.description.len() + params + inputs)
    }

    /// The bytes for the wire and the disk: as in the first layout, with the
    /// extras behind them if there are any.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self, (self.extras != TaskExtras::default()).then_some(&self.extras))
    }

    /// The body of some bytes, also if it has no extras. What a newer program
    /// put behind them is passed over.
    ///
    /// # Errors
    ///
    /// [`BodyError`] for all that [`TaskBody::encode`] never gives.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let (mut body, extras) = decode::<Self, _>(bytes)?;
        body.extras = extras;
        Ok(body)
    }
}

impl TaskExtras {
    /// Checks every limit; the bytes of content in it.
    fn check(&self) -> Result<usize, ContentError> {
        if let Some(key) = &self.exclusive
            && !(1..=MAX_EXCLUSIVE).contains(&key.len())
        {
            return Err(ContentError::Exclusive(key.len()));
        }
        let tasks: BTreeSet<TaskId> = self.inputs.iter().map(|input| input.task).collect();
        if self.inputs.len() > MAX_INPUTS || tasks.len() != self.inputs.len() {
            return Err(ContentError::Inputs(self.inputs.len()));
        }
        let passes = self.inputs.iter().filter_map(|input| input.pass.as_ref());
        if let Some(pass) = passes.map(Bytes::len).find(|len| *len > MAX_PASS) {
            return Err(ContentError::Pass(pass));
        }
        Ok(self.inputs.iter().filter_map(|input| input.content.as_ref()).map(Bytes::len).sum())
    }
}

impl ResultBody {
    /// Checks every limit.
    ///
    /// # Errors
    ///
    /// The first [`ContentError`] found.
    pub fn check(&self) -> Result<(), ContentError> {
        check_files(&self.files, self.data.len())
    }

    /// The bytes for the wire, the disk and the receipt's digest: as in the
    /// first layout, with the extras behind them if there are any.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self, (self.extras != ResultExtras::default()).then_some(&self.extras))
    }

    /// The body of some bytes, also if it has no extras. What a newer program
    /// put behind them is passed over.
    ///
    /// # Errors
    ///
    /// [`BodyError`] for all that [`ResultBody::encode`] never gives.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let (mut body, extras) = decode::<Self, _>(bytes)?;
        body.extras = extras;
        Ok(body)
    }
}

#[expect(clippy::expect_used, reason = "postcard only fails on sequences of unknown length")]
fn encode<B: Serialize, E: Serialize>(body: &B, extras: Option<&E>) -> Vec<u8> {
    let bytes = postcard::to_allocvec(body).expect("all lengths in a body are known");
    match extras {
        None => bytes,
        Some(extras) => postcard::to_extend(extras, bytes).expect("all lengths in it are known"),
    }
}

fn decode<B: DeserializeOwned, E: DeserializeOwned + Default>(
    bytes: &[u8],
) -> Result<(B, E), BodyError> {
    let (body, rest) = postcard::take_from_bytes(bytes).map_err(|_| BodyError)?;
    let extras = match rest {
        [] => E::default(),
        rest => postcard::take_from_bytes(rest).map_err(|_| BodyError)?.0,
    };
    Ok((body, extras))
}

fn check_files(files: &[InlineFile], beside: usize) -> Result<(), ContentError> {
    let names: BTreeSet<&FileName> = files.iter().map(|file| &file.name).collect();
    if files.len() > MAX_FILES || names.len() != files.len() {
        return Err(ContentError::Files(files.len()));
    }
    let inline = files.iter().map(|file| file.content.len()).sum::<usize>() + beside;
    if inline > MAX_INLINE { Err(ContentError::Inline(inline)) } else { Ok(()) }
}
