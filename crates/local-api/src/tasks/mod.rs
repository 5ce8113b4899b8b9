//! Tasks: what is asked of the daemon, and what it shows.

mod content;
mod params;
mod submitter;
mod view;
mod worker;

pub use content::{
    AttachedFiles, Attachment, BothForms, ContentFile, LISTED_NAMES, data_fields, read_data_fields,
};
pub use params::Params;
pub use submitter::{
    AttemptView, CancelRequest, CandidateView, ExplainView, OnDepFailure, Preference, ResultQuery,
    ResultView, SubmitRequest, Target, TargetError, WaitQuery,
};
pub use view::{LIST_DESCRIPTION, ListQuery, Role, StateChange, TaskState, TaskView};
pub use worker::{
    AcceptRequest, AcceptedTask, ClaimQuery, DeclineRequest, FailRequest, LogPiece, ProcessRef,
    ProgressAnswer, ProgressRequest, ReleaseRequest, ResultStatus, SendResultsRequest, TaskInput,
};
