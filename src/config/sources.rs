//! Command line and environment → settings, or one line that says what is wrong.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use super::{Cli, MODES};
use crate::console;

/// Exit code of wrong usage and wrong settings.
const USAGE: u8 = 2;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum UsageError {
    #[error("EXECUTION_MODE is {0:?}; allowed are {list}", list = MODES.join(", "))]
    Mode(String),
    #[error("{setting} is {given:?}: {problem}")]
    Value { setting: String, given: String, problem: String },
    #[error("{0} is not set; it is needed")]
    Missing(String),
    #[error("{0} is no flag of this mode; see --help")]
    Flag(String),
    #[error("{0} is no mode; allowed are {list}", list = MODES.join(", "))]
    NoMode(String),
    #[error("{0}")]
    Other(clap::Error),
}

impl UsageError {
    /// Prints it, and gives the exit code: 0 when help or the version was asked for.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Other(error) => {
                // Standard error may be closed; there is nobody else to tell.
                let _unprinted = error.print();
                ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
            }
            Self::Mode(_) | Self::Value { .. } | Self::Missing(_) | Self::Flag(_) | Self::NoMode(_) => {
                console::remark(format_args!("millrace: {self}"));
                ExitCode::from(USAGE)
            }
        }
    }
}

/// Reads the command line; EXECUTION_MODE stands in for a subcommand.
///
/// # Errors
/// [`UsageError`].
#[expect(clippy::disallowed_methods, reason = "this is where settings are read")]
pub fn parse() -> Result<Cli, UsageError> {
    // Manifests leave variables empty that they do not set.
    let empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    from(std::env::args_os().collect(), std::env::var("EXECUTION_MODE").ok(), empty)
}

fn from(mut args: Vec<OsString>, mode: Option<String>, unset: impl Fn(&OsStr) -> bool) -> Result<Cli, UsageError> {
    let named = args.get(1).is_some_and(|arg| {
        let arg = arg.to_string_lossy();
        !arg.starts_with('-') || matches!(&*arg, "-h" | "--help" | "-V" | "--version")
    });
    if let Some(mode) = mode.filter(|mode| !mode.is_empty() && !named) {
        if !MODES.contains(&mode.as_str()) {
            return Err(UsageError::Mode(mode));
        }
        args.insert(1.min(args.len()), mode.into());
    }
    let matches = command(unset).try_get_matches_from(args).map_err(one_line)?;
    Cli::from_arg_matches(&matches).map_err(one_line)
}

/// The command line, without the variables that `unset` names.
fn command(unset: impl Fn(&OsStr) -> bool) -> Command {
    let without = |arg: Arg| if arg.get_env().is_some_and(&unset) { arg.env(None) } else { arg };
    Cli::command().mut_subcommands(|mode| mode.mut_args(without))
}

/// Says that no mode was named.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "settings are read here")]
pub fn no_mode() -> ExitCode {
    if std::env::var("AWS_LAMBDA_RUNTIME_API").is_ok() {
        console::remark(format_args!(
            "millrace: this version has no mode for Lambda; allowed are {}",
            MODES.join(", ")
        ));
        return ExitCode::from(USAGE);
    }
    console::remark(Cli::command().render_help());
    ExitCode::from(USAGE)
}

/// The variable that a flag stands for, with the flag.
fn setting(flag: &str) -> String {
    let long = flag.trim_start_matches("--").split([' ', '=']).next().unwrap_or_default();
    let command = Cli::command();
    let mut settings = command.get_subcommands().flat_map(Command::get_arguments);
    let variable = settings.find(|arg| arg.get_long() == Some(long)).and_then(Arg::get_env);
    variable.map_or_else(|| format!("--{long}"), |name| format!("{} (--{long})", name.to_string_lossy()))
}

fn one_line(error: clap::Error) -> UsageError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    match (error.kind(), text(ContextKind::InvalidArg)) {
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(arg)) => {
            let problem = match text(ContextKind::ValidValue) {
                Some(allowed) if allowed.is_empty() => "a value is wanted".to_owned(),
                Some(allowed) => format!("allowed are {allowed}"),
                None => std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default(),
            };
            let given = text(ContextKind::InvalidValue).unwrap_or_default();
            UsageError::Value { setting: setting(&arg), given, problem }
        }
        (ErrorKind::MissingRequiredArgument, Some(args)) => {
            UsageError::Missing(args.split(", ").map(setting).collect::<Vec<_>>().join(", "))
        }
        (ErrorKind::UnknownArgument, Some(arg)) => UsageError::Flag(arg),
        (ErrorKind::InvalidSubcommand, _) => {
            UsageError::NoMode(text(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        _ => UsageError::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(args: &[&str], mode: Option<&str>) -> String {
        let args = std::iter::once("millrace").chain(args.iter().copied()).map(OsString::from).collect();
        from(args, mode.map(str::to_owned), |_| false).unwrap_err().to_string()
    }

    #[test]
    fn wrong_values_are_named_in_one_line_with_what_is_allowed() {
        let cases: &[(&[&str], &str)] = &[
            (&["manual", "--part-bytes", "1KiB"], "PART_BYTES (--part-bytes) is \"1KiB\": 256KiB to 64MiB are allowed"),
            (
                &["sqs", "--linger", "1"],
                "LINGER (--linger) is \"1\": a time with its unit is wanted; 0 to 300s are allowed, such as 500ms, 20s, 5m or 1h",
            ),
            (
                &["manual", "--max-batch-size", "0"],
                "MAX_BATCH_SIZE (--max-batch-size) is \"0\": 1 to 10000 are allowed",
            ),
            (
                &["manual", "--log-level", "loud"],
                "LOG_LEVEL (--log-level) is \"loud\": allowed are error, warn, info, debug, trace",
            ),
            (
                &["manual", "--key-layout", "{tenant}/x"],
                "KEY_LAYOUT (--key-layout) is \"{tenant}/x\": {cluster} must stand in it exactly once",
            ),
            (&["manual", "--hops", "3"], "HOPS (--hops) is \"3\": 1 to 2 are allowed"),
            (
                &["manual", "--aws-endpoint-url", "localhost"],
                "AWS_ENDPOINT_URL (--aws-endpoint-url) is \"localhost\": a URL that begins with http:// or https:// is wanted",
            ),
            (&["manual", "--hops", "two"], "HOPS (--hops) is \"two\": 1 to 2 are allowed"),
            (
                &["manual", "--aws-region", ""],
                "AWS_REGION (--aws-region) is \"\": a region such as eu-west-1 is wanted",
            ),
            (
                &["manual", "--external-id", "#"],
                "EXTERNAL_ID (--external-id) is \"#\": 2 to 1224 characters of a-z A-Z 0-9 _ + = , . @ : / - are wanted",
            ),
            (
                &["manual", "--tenant-config-table", "my table"],
                "TENANT_CONFIG_TABLE (--tenant-config-table) is \"my table\": 3 to 255 characters of a-z A-Z 0-9 _ - . are wanted, or a table's ARN",
            ),
            (&["manual", "--linger", "1s"], "--linger is no flag of this mode; see --help"),
            (&["sqs", "--linger"], "LINGER (--linger) is \"\": a value is wanted"),
            (&["manual", "--lingre", "1s"], "--lingre is no flag of this mode; see --help"),
            (&["scan"], "scan is no mode; allowed are MODES"),
            (&["sqs"], "SQS_QUEUE_URL (--sqs-queue-url) is not set; it is needed"),
        ];
        for (args, expected) in cases {
            assert_eq!(error(args, None), expected.replace("MODES", &MODES.join(", ")));
        }
        assert_eq!(error(&[], Some("scan")), format!("EXECUTION_MODE is \"scan\"; allowed are {}", MODES.join(", ")));
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_wrong_rule_of_faults_is_named() {
        let line = error(&["local", "--faults", "light; s3 cut times=0"], None);
        let rule = "rule 2, \"s3 cut times=0\": \"times=0\" is not allowed; allowed: times=FAULTS (1 or more)";
        assert_eq!(line, format!("LOCAL_FAULTS (--faults) is \"light; s3 cut times=0\": {rule}"));
    }

    #[test]
    fn the_variable_names_the_mode_unless_a_subcommand_does() {
        let parse = |args: &[&str], mode: Option<&str>| {
            let args = std::iter::once("millrace").chain(args.iter().copied()).map(OsString::from).collect();
            from(args, mode.map(str::to_owned), |_| false).unwrap().mode
        };
        assert!(matches!(parse(&["--hops", "1"], Some("manual")), Some(super::super::Mode::Manual(_))));
        assert!(matches!(parse(&["version"], Some("manual")), Some(super::super::Mode::Version)));
        assert!(parse(&[], None).is_none());
    }

    #[test]
    fn a_table_may_be_named_by_its_arn() {
        let arn = "arn:aws:dynamodb:eu-west-1:111111111111:table/tenants";
        let args = ["millrace", "manual", "--tenant-config-table", arn].map(OsString::from).to_vec();
        assert!(from(args, None, |_| false).is_ok());
    }

    #[test]
    fn levels_are_taken_in_any_case() {
        let args = ["millrace", "manual", "--log-level", "WARNING"].map(OsString::from).to_vec();
        assert!(from(args, None, |_| false).is_ok());
    }
}
