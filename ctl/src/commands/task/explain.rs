use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::ExplainView;

use super::called;
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::{pairs, table};

/// Say why a task is where it is: why this worker, and for each other why not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
}

pub(crate) async fn run(Args { id }: Args, ctl: &Ctl) -> Result<(), Failure> {
    ctl.ui.answer(&ctl.client.explain(id).await?, text)
}

fn text(view: &ExplainView) -> String {
    let mut text = pairs([
        ("id", Some(view.id.to_string())),
        ("state", Some(view.state.to_string())),
        ("asked for", Some(shown::line(&view.to))),
        ("worker", view.chosen.as_ref().map(called)),
        ("why", Some(shown::line(&view.why))),
    ]);
    if !view.candidates.is_empty() {
        let rows = view.candidates.iter().map(|candidate| {
            let chosen = if candidate.chosen { "yes" } else { "no" };
            format!("{}\t{chosen}\t{}", called(&candidate.peer), shown::line(&candidate.why))
        });
        text.push_str(&table("PEER\tCHOSEN\tWHY", rows));
    }
    text
}
