//! Results of earlier tasks, for the worker of the next one.

use pilot_local_api::Base64;
use pilot_local_api::tasks::{ContentFile, TaskInput, data_fields};
use pilot_proto::TaskId;
use pilot_proto::tasks::ResultBody;

use super::failure::Failure;
use super::task_files::{Files, files, lying_in};
use crate::node::Node;

/// The inputs of a task that was received, in the submitter's order.
pub(super) async fn inputs(node: &Node, id: TaskId) -> Result<Vec<TaskInput>, Failure> {
    let mut inputs = Vec::new();
    for input in node.tasks().inputs(id)? {
        let body = ResultBody::decode(&input.body).map_err(|error| Failure::internal(&error))?;
        let all = if input.from == node.id() {
            // It is a result that stays here.
            lying_in(node.tasks().left_folder(input.task), &body.files).await?
        } else {
            let attached = input.attached.as_ref();
            let Files { attachments, .. } = files(node, input.from, &body.files, attached).await?;
            attachments
        };
        let (data, data_base64) = data_fields(body.data);
        let content = body
            .files
            .into_iter()
            .map(|file| ContentFile { name: file.name, content_base64: Base64(file.content) });
        inputs.push(TaskInput {
            task: input.task,
            is_json: body.is_json,
            data,
            data_base64,
            files: content.collect(),
            attachments: all,
        });
    }
    Ok(inputs)
}
