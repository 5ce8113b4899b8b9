use std::path::PathBuf;

use pilot_local_api::Base64;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{Attachment, ContentFile};

use crate::Ctl;
use crate::failure::Failure;
use crate::{files, shown};

/// List the files that came with a task, or write them into a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// Write them into this folder; none is overwritten.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(Args { id, out }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let mut attachments = ctl.client.task(id).await?.attachments;
    if let Some(out) = &out {
        let mut whole = Vec::with_capacity(attachments.len());
        for attachment in &mut attachments {
            let content = ctl.client.attachment(id, attachment.name.as_str()).await?;
            whole.push(ContentFile {
                name: attachment.name.clone(),
                content_base64: Base64(content),
            });
            attachment.path = Some(out.join(attachment.name.as_str()).display().to_string());
        }
        files::write(out, &whole)?;
    }
    ctl.ui.answer(&attachments, |attachments| attachments.iter().map(line).collect())
}

fn line(attachment: &Attachment) -> String {
    let path = attachment.path.clone();
    let name = path.unwrap_or_else(|| attachment.name.as_str().to_owned());
    format!("{}  {} bytes\n", shown::line(&name), attachment.size)
}
