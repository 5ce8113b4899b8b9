//! What a command finds about its task in its environment.
//!
//! Names and values are the submitter's text: a name can only become one that
//! begins with `PILOT_PARAM_`, and what the system would not take is left out.

use std::collections::BTreeSet;

use pilot_local_api::tasks::AcceptedTask;

use crate::shown;

/// Bytes of one value; the system takes 128 KiB for a variable.
const MAX_VALUE: usize = 64 * 1024;

/// Bytes of all names and values together; the system takes about 2 MiB for
/// the environment and the arguments.
const MAX_ALL: usize = 512 * 1024;

/// What all variables with values of a task begin with. Those that worker run
/// itself was given are not passed on.
pub(super) const PREFIXES: [&str; 4] =
    ["PILOT_TASK_", "PILOT_PARAM_", "PILOT_RESULT_DIR", "PILOT_INPUTS_DIR"];

/// The variables of one task.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// Names and values.
    pub(super) variables: Vec<(String, String)>,
    /// Parameters that are not among them.
    left_out: Vec<String>,
    len: usize,
}

impl Environment {
    pub(super) fn of(task: &AcceptedTask) -> Self {
        let mut all = Self::default();
        all.add("PILOT_TASK_ID", &task.id.to_string());
        all.add("PILOT_TASK_ATTEMPT", &task.attempt.to_string());
        all.add("PILOT_TASK_FROM", &task.from);
        if let Some(name) = &task.from_name {
            all.add("PILOT_TASK_FROM_NAME", name);
        }
        // It is in the file PILOT_TASK_DIR/description in any case.
        all.add("PILOT_TASK_DESCRIPTION", &task.description);
        let mut taken = BTreeSet::new();
        for (name, value) in &task.params.0 {
            let variable = variable(name);
            if taken.contains(&variable) || !all.add(&variable, value) {
                all.left_out.push(name.clone());
            } else {
                taken.insert(variable);
            }
        }
        all
    }

    /// What there is to say about it.
    pub(super) fn note(&self) -> Option<String> {
        let (first, count) = (self.left_out.first()?, self.left_out.len());
        let (first, more) = (shown::short(first, 80), count - 1);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Some(format!(
            "parameter {first}{more} not in the environment, for its length or because another \
             has its name there; task.json has all of them"
        ))
    }

    fn add(&mut self, name: &str, value: &str) -> bool {
        let len = name.len() + value.len();
        // The system ends a value at a zero.
        if value.len() > MAX_VALUE || self.len + len > MAX_ALL || value.contains('\0') {
            return false;
        }
        self.len += len;
        self.variables.push((name.to_owned(), value.to_owned()));
        true
    }
}

/// `PILOT_PARAM_` and the name in upper case, with `_` for what names of
/// variables do not have.
fn variable(name: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_uppercase() {
        letter @ ('A'..='Z' | '0'..='9' | '_') => letter,
        _ => '_',
    };
    format!("PILOT_PARAM_{}", name.chars().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use pilot_local_api::proto::TaskId;
    use pilot_local_api::tasks::Params;

    use super::*;

    fn task(params: &[(&str, &str)]) -> AcceptedTask {
        let params = params.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        AcceptedTask {
            id: TaskId::from_bytes([1; 16]),
            description: "what".into(),
            params: Params(params.collect()),
            from: "1:0001.0000.0001".into(),
            from_name: None,
            attempt: 2,
            lease_expires_at: None,
            deadline_at: None,
            attachments: Vec::new(),
            attached: None,
            inputs: Vec::new(),
        }
    }

    fn params(environment: &Environment) -> Vec<(&str, &str)> {
        let variables = environment.variables.iter();
        let params = variables.filter(|(name, _)| name.starts_with("PILOT_PARAM_"));
        params.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn a_task_is_told_and_what_it_has_not_is_not() {
        let environment = Environment::of(&task(&[]));

        let names: Vec<&str> =
            environment.variables.iter().map(|(name, _)| name.as_str()).collect();
        let wanted =
            ["PILOT_TASK_ID", "PILOT_TASK_ATTEMPT", "PILOT_TASK_FROM", "PILOT_TASK_DESCRIPTION"];
        assert_eq!(names, wanted);
        assert_eq!(environment.note(), None);
    }

    #[test]
    fn no_name_of_a_peer_becomes_another_variable() {
        let hostile = task(&[
            ("a-b", "1"),
            ("A.B", "2"),
            ("PATH=x", "3"),
            ("../é\n\0", "4"),
            ("", "5"),
            ("zero", "a\0b"),
            ("LD_PRELOAD", "6"),
        ]);

        let environment = Environment::of(&hostile);

        let wanted = [
            ("PILOT_PARAM_A_B", "1"),
            ("PILOT_PARAM_PATH_X", "3"),
            ("PILOT_PARAM_______", "4"),
            ("PILOT_PARAM_", "5"),
            ("PILOT_PARAM_LD_PRELOAD", "6"),
        ];
        assert_eq!(params(&environment), wanted[..]);
        assert!(environment.note().unwrap().starts_with("parameter A.B and 1 more not"));
    }

    #[test]
    fn what_the_system_would_not_take_is_left_out() {
        let (long, half) = ("x".repeat(MAX_VALUE + 1), "y".repeat(MAX_VALUE));
        let many: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
        let mut given: Vec<_> = many.iter().map(|name| (name.as_str(), half.as_str())).collect();
        given.push(("long", &long));
        let mut task = task(&given);
        task.description = long.clone();

        let environment = Environment::of(&task);

        assert_eq!(params(&environment).len(), 7);
        assert_eq!(environment.left_out.len(), 14);
        let all: usize =
            environment.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(all <= MAX_ALL);
        assert!(!environment.variables.iter().any(|(name, _)| name == "PILOT_TASK_DESCRIPTION"));
    }
}
