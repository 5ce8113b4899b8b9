//! Arguments that carry content: the text itself, `-` for stdin, `@FILE`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use bytes::Bytes;
use pilot_local_api::{ApiError, ErrorCode};

use crate::failure::Failure;

/// Bytes that are read of stdin or of one file.
///
/// What a task or a result can carry inline is 16 MiB; reading stops one byte
/// beyond it, and the command is refused before anything is sent.
pub(crate) const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// Content, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The argument itself.
    Literal(OsString),
    /// Everything that stdin has.
    Stdin,
    /// Everything that a file has.
    File(PathBuf),
}

impl From<OsString> for Payload {
    fn from(argument: OsString) -> Self {
        let bytes = argument.as_bytes();
        match bytes.split_first() {
            Some((b'-', [])) => Self::Stdin,
            Some((b'@', rest @ [b'@', ..])) => Self::Literal(OsStr::from_bytes(rest).to_owned()),
            Some((b'@', path)) => Self::File(OsStr::from_bytes(path).into()),
            Some(_) | None => Self::Literal(argument),
        }
    }
}

impl Payload {
    /// The file of this path, or stdin for `-`: for what is never given itself.
    pub(crate) fn of_path(argument: OsString) -> Self {
        match Self::from(argument) {
            Self::Literal(path) => Self::File(path.into()),
            source @ (Self::Stdin | Self::File(_)) => source,
        }
    }
}

/// Reads payloads; stdin only once.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    stdin_taken: bool,
}

impl Payloads {
    /// The bytes of a payload; `what` names it in errors.
    pub(crate) fn read(&mut self, payload: &Payload, what: &str) -> Result<Bytes, Failure> {
        match payload {
            Payload::Literal(text) => Ok(text.clone().into_vec().into()),
            Payload::Stdin if self.stdin_taken => {
                Err(Failure::usage("stdin can be read for one argument only; nothing was sent"))
            }
            Payload::Stdin => {
                self.stdin_taken = true;
                limited(io::stdin().lock(), what, "stdin")
            }
            Payload::File(path) => {
                let shown = path.display().to_string();
                let file = File::open(path).map_err(|error| unreadable(&error, what, &shown))?;
                limited(file, what, &shown)
            }
        }
    }

    /// The same of a payload that must be UTF-8.
    pub(crate) fn text(&mut self, payload: &Payload, what: &str) -> Result<String, Failure> {
        let bytes = self.read(payload, what)?;
        String::from_utf8(bytes.into()).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::usage(format!("{what} is no UTF-8 text (at byte {at}); nothing was sent"))
        })
    }

    /// The names and values of parameters, in their order.
    pub(crate) fn params(&mut self, params: Vec<Param>) -> Result<Vec<(String, String)>, Failure> {
        let params = params.into_iter().map(|Param { name, value }| {
            let value = self.text(&value, &format!("--param {name}"))?;
            Ok((name, value))
        });
        params.collect()
    }
}

/// Everything a reader has, unless it is more than [`MAX_PAYLOAD`].
pub(crate) fn limited(from: impl Read, what: &str, source: &str) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_PAYLOAD).unwrap_or(u64::MAX);
    let read = from.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&error, what, source))?;
    if bytes.len() > MAX_PAYLOAD {
        let message = format!(
            "{what} ({source}) has more than the {MAX_PAYLOAD} bytes that travel inside a task or \
             a result; nothing was sent"
        );
        let error = ApiError::new(ErrorCode::TooLarge, message).with_detail("limit", MAX_PAYLOAD);
        return Err(error.into());
    }
    Ok(bytes.into())
}

/// A file that cannot be read.
pub(crate) fn unreadable(error: &io::Error, what: &str, source: &str) -> Failure {
    let code = code_of(error);
    ApiError::new(code, format!("cannot read {source} for {what}: {error}; nothing was sent"))
        .into()
}

/// What an error of the file system is called here.
pub(crate) fn code_of(error: &io::Error) -> ErrorCode {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        ErrorCode::NotFound
    } else if kind == io::ErrorKind::PermissionDenied {
        ErrorCode::NotAllowed
    } else if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        ErrorCode::DiskFull
    } else {
        ErrorCode::InvalidArgument
    }
}

/// `NAME=VALUE`, where the value is a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) value: Payload,
}

/// Text that is no `NAME=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParamError {
    #[error("a parameter is NAME=VALUE; the value may be empty")]
    NoEquals,
    #[error("the name of a parameter is not empty")]
    NoName,
    #[error("the name of a parameter is UTF-8 text")]
    NotText,
}

impl TryFrom<OsString> for Param {
    type Error = ParamError;

    fn try_from(argument: OsString) -> Result<Self, ParamError> {
        let bytes = argument.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=').ok_or(ParamError::NoEquals)?;
        let (name, value) = bytes.split_at_checked(at).ok_or(ParamError::NoEquals)?;
        let name = core::str::from_utf8(name).map_err(|_| ParamError::NotText)?;
        if name.is_empty() {
            return Err(ParamError::NoName);
        }
        let value = value.strip_prefix(b"=").unwrap_or_default();
        Ok(Self { name: name.to_owned(), value: OsStr::from_bytes(value).to_owned().into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Payload {
        Payload::Literal(text.into())
    }

    #[test]
    fn each_form_is_told_from_the_others() {
        let table = [
            ("", literal("")),
            ("-", Payload::Stdin),
            ("--", literal("--")),
            ("-x", literal("-x")),
            ("@a b", Payload::File("a b".into())),
            ("@", Payload::File("".into())),
            ("@@", literal("@")),
            ("@@a", literal("@a")),
            ("a@b\n", literal("a@b\n")),
        ];
        for (argument, payload) in table {
            assert_eq!(Payload::from(OsString::from(argument)), payload, "{argument:?}");
        }
    }

    #[test]
    fn a_parameter_is_split_at_its_first_equals_sign() {
        let read = |text: &str| Param::try_from(OsString::from(text));
        let param = |name: &str, value| Ok(Param { name: name.to_owned(), value });

        assert_eq!(read("a=b=c"), param("a", literal("b=c")));
        assert_eq!(read("a="), param("a", literal("")));
        assert_eq!(read("a=-1"), param("a", literal("-1")));
        assert_eq!(read("a=-"), param("a", Payload::Stdin));
        assert_eq!(read("a=@f"), param("a", Payload::File("f".into())));
        assert_eq!(read("a"), Err(ParamError::NoEquals));
        assert_eq!(read("=a"), Err(ParamError::NoName));
    }

    #[test]
    fn what_is_larger_than_a_task_can_carry_is_refused_unsent() {
        let fits = limited(io::repeat(7).take(16 << 20), "--data", "f");
        assert_eq!(fits.unwrap().len(), MAX_PAYLOAD);

        let Err(Failure::Error(error)) = limited(io::repeat(7), "--data", "f") else { panic!() };

        assert_eq!(error.code, ErrorCode::TooLarge);
    }

    #[test]
    fn stdin_is_read_for_one_argument_only() {
        let mut payloads = Payloads { stdin_taken: true };

        let Err(Failure::Error(error)) = payloads.read(&Payload::Stdin, "--data") else { panic!() };

        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let missing = Payload::File("/nowhere/at/all".into());

        let Err(Failure::Error(error)) = Payloads::default().read(&missing, "--data") else {
            panic!()
        };

        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.message.contains("/nowhere/at/all"), "{}", error.message);
    }
}
