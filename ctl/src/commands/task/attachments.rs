use std::path::PathBuf;

use pilot_local_api::proto::{FileName, TaskId};
use pilot_local_api::tasks::{Attachment, ContentFile, TaskView};
use pilot_local_api::transfers::PathText;
use pilot_local_api::{ApiError, Base64, ErrorCode};

use crate::Ctl;
use crate::failure::Failure;
use crate::{files, shown};

/// List the files that came with a task and where they are, or write them into a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// Write them into this folder; none is overwritten.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(Args { id, out }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let TaskView { mut attachments, attached, .. } = ctl.client.task(id).await?;
    if let Some(out) = &out {
        let mut inside = Vec::new();
        for attachment in &mut attachments {
            if attachment.path.is_none() {
                inside.push(content(ctl, id, &attachment.name).await?);
            }
            attachment.path = Some(out.join(attachment.name.as_path()).into());
        }
        files::write(out, inside, attached.as_ref()).await?;
    }
    ctl.ui.answer(&attachments, |attachments| attachments.iter().map(line).collect())
}

/// One that is inside the task itself.
async fn content(ctl: &Ctl, id: TaskId, name: &PathText) -> Result<ContentFile, Failure> {
    let name = name.as_path().to_str().and_then(|name| name.parse::<FileName>().ok());
    let name = name.ok_or_else(|| {
        let message = "the daemon names a file that a task cannot hold";
        ApiError::new(ErrorCode::VersionMismatch, message)
    })?;
    let content = ctl.client.attachment(id, name.as_str()).await?;
    Ok(ContentFile { name, content_base64: Base64(content) })
}

fn line(attachment: &Attachment) -> String {
    let name = attachment.path.as_ref().unwrap_or(&attachment.name);
    format!("{}  {} bytes\n", shown::path(name.as_bytes()), attachment.size)
}
