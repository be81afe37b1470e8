//! docs/configuration.md, made from the settings' definitions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

const INTRODUCTION: &str = "\
# Configuration

Made from the settings' definitions in `src/config`; a test keeps it so. Every setting is a flag and an environment
variable; the flag wins, and an empty variable is as if it were not set. A wrong value stops the start with one line that names it. Sizes take `KiB`, `MiB`, `GiB` (and
`KB`, `MB`, `GB`), times `ms`, `s`, `m`, `h`.

Credentials come by the SDK's usual chain: environment, profile (SSO too), web identity, container, instance.
";

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let command = Cli::command();
    let modes: Vec<&Command> = command.get_subcommands().collect();
    // A setting that several modes have is described once.
    let mut uses: BTreeMap<String, Vec<(&str, &Arg)>> = BTreeMap::new();
    for mode in &modes {
        for arg in settings(mode) {
            uses.entry(arg.get_id().to_string()).or_default().push((mode.get_name(), arg));
        }
    }
    page.push_str("\n| mode | what it does |\n|---|---|\n");
    for mode in &modes {
        let about = mode.get_about().map(ToString::to_string).unwrap_or_default();
        row(&mut page, &[&format!("`{}`", mode.get_name()), &about]);
    }
    page.push_str("\n| variable | flag | default | modes | what it is |\n|---|---|---|---|---|\n");
    row(&mut page, &["`EXECUTION_MODE`", "the subcommand", "none", "all", "The mode, when no subcommand names one."]);
    let mut shown = Vec::new();
    for arg in modes.iter().flat_map(|mode| settings(mode)) {
        let id = arg.get_id().to_string();
        if shown.contains(&id) {
            continue;
        }
        let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let flag = arg.get_long().map(|name| format!("`--{name}`")).unwrap_or_default();
        let uses = uses.get(&id).map(Vec::as_slice).unwrap_or_default();
        let modes: Vec<&str> = uses.iter().map(|(mode, _)| *mode).collect();
        let mut defaults = default(arg);
        for (mode, own) in uses.iter().map(|(mode, arg)| (mode, default(arg))).filter(|(_, own)| *own != default(arg)) {
            // Writing to a String cannot fail.
            let _written = write!(defaults, ", {mode}: {own}");
        }
        row(&mut page, &[&variable, &flag, &defaults, &modes.join(", "), &help(arg)]);
        shown.push(id);
    }
    page
}

fn settings(mode: &Command) -> impl Iterator<Item = &Arg> {
    let named = |arg: &&Arg| arg.get_long().is_some_and(|name| name != "help" && name != "version");
    mode.get_arguments().filter(named).filter(|arg| !arg.is_hide_set())
}

fn default(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match (values.as_slice(), arg.is_required_set()) {
        ([], true) => "needed".to_owned(),
        ([], false) => "none".to_owned(),
        (values, _) => format!("`{}`", values.join(" ")),
    }
}

fn help(arg: &Arg) -> String {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if !help.ends_with('.') {
        help.push('.');
    }
    let possible = arg.get_possible_values();
    if !possible.is_empty() && arg.get_value_names().is_some_and(|names| names.iter().all(|name| !name.contains('|'))) {
        let names: Vec<String> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
        // Writing to a String cannot fail.
        let _written = write!(help, " One of {}.", names.join(", "));
    }
    help
}

fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        page.push_str("| ");
        page.push_str(&cell.replace('|', "\\|"));
        page.push(' ');
    }
    page.push_str("|\n");
}
