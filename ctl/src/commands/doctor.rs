use pilot_flags::HumanDuration;
use pilot_local_api::doctor::{DoctorQuery, DoctorView, Finding, Severity};
use pilot_local_api::proto::PeerRef;
use pilot_local_api::{ApiError, CallError, ErrorCode};

use crate::failure::Failure;
use crate::{Ctl, outside, shown};

/// Say what is wrong with this node, or with reaching a peer, what is safe
/// meanwhile, and the command that mends it.
///
/// Works also while the daemon does not run. Exit code 0 if nothing is a
/// problem (warnings and notes may be there); else that of the first problem:
/// 4 not trusted or not allowed, 6 no daemon, 7 rendezvous, beacon or peer not
/// reached, 8 a key or file that somebody else uses, 9 other versions, 10 the
/// disk is full.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The peer that is not reached as it should be.
    peer: Option<PeerRef>,
    /// How long to wait for what is still being found out, and for the peer.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: HumanDuration,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let query = DoctorQuery {
        peer: args.peer.map(|peer| peer.to_string()),
        wait_ms: Some(args.timeout.as_millis()),
        client: Some(env!("CARGO_PKG_VERSION").to_owned()),
    };
    let view = match ctl.client.doctor(&query).await {
        Ok(view) => view,
        Err(error @ CallError::Refused(_)) => return Err(error.into()),
        Err(silence @ (CallError::Unsent(_) | CallError::Lost(_))) => {
            let findings = outside::findings(&ctl.home, ctl.client.socket(), &silence);
            DoctorView { findings }
        }
    };
    ctl.ui.answer(&view, text)?;
    match verdict(&view) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// The error of the first problem.
fn verdict(view: &DoctorView) -> Option<ApiError> {
    let is_problem = |finding: &&Finding| finding.severity == Severity::Problem;
    let first = view.findings.iter().find(is_problem)?;
    let code = first.code.error().unwrap_or(ErrorCode::Internal);
    let count = view.findings.iter().filter(is_problem).count();
    let message = match count {
        1 => first.what.clone(),
        _ => format!("{count} problems; the first: {}", first.what),
    };
    let mut error = ApiError::new(code, message).with_detail("finding", first.code.word());
    error.hint.clone_from(&first.mend);
    Some(error)
}

fn text(view: &DoctorView) -> String {
    view.findings.iter().map(finding).collect()
}

fn finding(finding: &Finding) -> String {
    let (severity, code) = (finding.severity.word(), finding.code);
    let mut text = format!("{severity:<8} {} [{code}]\n", shown::line(&finding.what));
    for (name, said) in [("safe", &finding.safe), ("mend", &finding.mend)] {
        if let Some(said) = said {
            text.push_str(&format!("         {name}: {}\n", shown::line(said)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use pilot_local_api::doctor::Cause;

    use super::*;

    #[test]
    fn the_first_problem_gives_the_exit_code_and_warnings_give_none() {
        let finding = |severity, code| Finding::new(severity, code, "what").mend("command");
        let view = |findings: &[Finding]| DoctorView { findings: findings.to_vec() };
        let warning = finding(Severity::Warning, Cause::BeaconSilent);
        let full = finding(Severity::Problem, Cause::DiskFull);
        let silent = finding(Severity::Problem, Cause::RendezvousSilent);

        assert_eq!(verdict(&view(std::slice::from_ref(&warning))), None);
        let error = verdict(&view(&[warning.clone(), full.clone(), silent.clone()])).unwrap();
        assert_eq!(error.code.exit_code(), 10);
        assert_eq!(error.hint.as_deref(), Some("command"));
        assert_eq!(verdict(&view(&[silent, full])).unwrap().code.exit_code(), 7);
    }

    #[test]
    fn each_finding_is_shown_with_what_is_safe_and_what_mends_it() {
        let found = Finding::new(Severity::Problem, Cause::DiskFull, "full\u{1b}")
            .safe("results")
            .mend("df -h");

        let wanted =
            "problem  full\\u{1b} [disk_full]\n         safe: results\n         mend: df -h\n";
        assert_eq!(text(&DoctorView { findings: vec![found] }), wanted);
    }
}
