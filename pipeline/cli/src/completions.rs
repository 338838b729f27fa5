//! `graven completions` and `graven man`: what shells and `man` know of the verbs, made from the verbs.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use graven_stages::clock;

use crate::exit;

/// Print the completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  graven completions bash > /etc/bash_completion.d/graven")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sudo graven man /usr/local/share/man/man1 && man graven-exec")]
pub(crate) struct ManArgs {
    /// Directory to write to; it is made where it is missing.
    dir: PathBuf,
}

pub(crate) fn complete<C: CommandFactory>(
    args: &CompletionsArgs,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut offered(&C::command()), "graven", &mut script);
    out.write_all(&script)?;
    Ok(exit::GOOD)
}

/// The command without what is hidden: the generators would offer that too.
fn offered(whole: &Command) -> Command {
    let verbs = whole.get_subcommands().filter(|verb| !verb.is_hide_set());
    Command::new("graven")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .subcommands(verbs.cloned().collect::<Vec<_>>())
}

pub(crate) fn man<C: CommandFactory>(args: &ManArgs) -> anyhow::Result<u8> {
    let failed = || format!("failed to write {}", args.dir.display());
    fs::create_dir_all(&args.dir).with_context(failed)?;
    let mut graven = C::command().disable_help_subcommand(true);
    graven.build();
    let verbs = graven.get_subcommands().filter(|verb| !verb.is_hide_set());
    for command in verbs.chain([&graven]) {
        let page = Page::of(command);
        fs::write(args.dir.join(page.man.get_filename()), page.render()?).with_context(failed)?;
    }
    Ok(exit::GOOD)
}

/// One manual page, with the sections that manual pages have (man-pages(7)).
struct Page<'a> {
    command: &'a Command,
    man: Man,
}

impl<'a> Page<'a> {
    fn of(command: &'a Command) -> Self {
        let source = format!("graven {}", command.get_version().unwrap_or_default());
        // Without a date the arguments behind it would move up by one.
        let today = clock::now().to_string();
        let man = Man::new(command.clone())
            .date(today.get(..10).unwrap_or(&today).to_owned())
            .source(source)
            .manual("Graven");
        Self { command, man }
    }

    fn render(&self) -> io::Result<Vec<u8>> {
        let mut page = Vec::new();
        self.man.render_title(&mut page)?;
        self.man.render_name_section(&mut page)?;
        self.man.render_synopsis_section(&mut page)?;
        self.man.render_description_section(&mut page)?;
        if self.command.get_arguments().next().is_some() {
            self.man.render_options_section(&mut page)?;
        }
        if self.command.has_subcommands() {
            self.man.render_subcommands_section(&mut page)?;
        }
        let mut roff = Roff::new();
        self.examples(&mut roff);
        self.exit_status(&mut roff);
        self.environment(&mut roff);
        self.see_also(&mut roff);
        roff.to_writer(&mut page)?;
        Ok(page)
    }

    /// What help shows below the options, as it stands there.
    fn examples(&self, roff: &mut Roff) {
        let Some(help) = self.command.get_after_help() else { return };
        let help = help.to_string();
        let lines = help.lines().filter(|line| !matches!(*line, "Example:" | "Examples:"));
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        // The exit codes have a section of their own.
        for line in lines.take_while(|line| !line.starts_with("Exit ")) {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }

    fn exit_status(&self, roff: &mut Roff) {
        roff.control("SH", ["EXIT STATUS"]);
        if self.command.get_name() == "exec" {
            roff.text([roman(
                "The command's; 128+n where signal n killed it, 127 where it was not found, 126 where it cannot \
                 be executed, 125 where Graven itself failed.",
            )]);
            return;
        }
        for (code, meaning) in exit::CODES {
            roff.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
        }
    }

    fn environment(&self, roff: &mut Roff) {
        roff.control("SH", ["ENVIRONMENT"]);
        for argument in self.command.get_arguments() {
            if let (Some(variable), Some(option)) = (argument.get_env(), argument.get_long()) {
                let variable = bold(variable.to_string_lossy());
                let text = format!("What --{option} names where it is not given.");
                roff.control("TP", []).text([variable]).text([roman(text)]);
            }
        }
        for (variable, text) in [
            (
                "GRAVEN_LOG",
                "What is logged, to standard error: error, warn (the default), info, debug or trace.",
            ),
            ("NO_COLOR", "If set, nothing is coloured."),
        ] {
            roff.control("TP", []).text([bold(variable)]).text([roman(text)]);
        }
    }

    fn see_also(&self, roff: &mut Roff) {
        let verbs = [
            "init", "run", "exec", "append", "verify", "show", "status", "tail", "reload", "check",
            "doctor",
        ];
        let pages = verbs.map(|verb| format!("graven-{verb}"));
        let others = pages
            .iter()
            .map(String::as_str)
            .chain(["graven"])
            .filter(|page| *page != self.man.get_filename().trim_end_matches(".1"));
        let mut text = Vec::new();
        for page in others {
            if !text.is_empty() {
                text.push(roman(", "));
            }
            text.extend([bold(page), roman("(1)")]);
        }
        roff.control("SH", ["SEE ALSO"]).text(text);
    }
}
