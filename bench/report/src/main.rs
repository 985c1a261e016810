//! Renders results of load tests: `holdfast-bench-report --help`.

use std::path::Path;
use std::process::ExitCode;

use holdfast_bench_report::result::RunResult;
use holdfast_bench_report::{compare, html, read, strategies};

const HELP: &str = "\
Renders results of Holdfast's load tests as pages that load nothing and need no script

Usage:
  holdfast-bench-report run FILE.json [--html OUT.html] [--svg OUT.svg]
  holdfast-bench-report compare A.json B.json [--html OUT.html]
  holdfast-bench-report strategies FILE.json [--html OUT.html] [--svg OUT.svg]

run         the report of a run of holdfast-flash-sale
compare     two of these side by side, with ratios: as text, and as a page with --html
strategies  the comparison that `holdfast-bench strategies --json` writes

Options:
  --html FILE  write a page
  --svg FILE   write a picture for READMEs
  --help       print this
";

/// Why the program ends without its work done.
enum Failure {
    /// The command line makes no sense.
    Usage(String),
    Other(String),
}

/// The command line.
#[derive(Debug, Default)]
struct Arguments {
    words: Vec<String>,
    html: Option<String>,
    svg: Option<String>,
    wants_help: bool,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("holdfast-bench-report: {message}\n\n{HELP}");
            ExitCode::from(2)
        }
        Err(Failure::Other(message)) => {
            eprintln!("holdfast-bench-report: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: impl Iterator<Item = String>) -> Result<(), Failure> {
    let arguments = Arguments::parse(words)?;
    if arguments.wants_help {
        print!("{HELP}");
        return Ok(());
    }
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    match words[..] {
        ["run", path] => {
            arguments.needs_a_file()?;
            let result = read_run(path)?;
            arguments.write(|| Ok(html::report(&result)), || Ok(html::picture(&result)))
        }
        ["compare", first, second] => {
            arguments.refuse_svg()?;
            let (first, second) = (read_run(first)?, read_run(second)?);
            print!("{}", compare::text(&first, &second));
            match &arguments.html {
                Some(out) => write(out, &compare::html(&first, &second)),
                None => Ok(()),
            }
        }
        ["strategies", path] => compare_strategies(path, &arguments),
        [] => Err(Failure::Usage("say what to render".to_owned())),
        _ => Err(Failure::Usage(format!("`{}` is not understood", words.join(" ")))),
    }
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Arguments::default();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (word.clone(), None),
            };
            let mut value = || {
                let value = value.clone().or_else(|| words.next());
                value.ok_or_else(|| Failure::Usage(format!("{name} needs a file")))
            };
            match name.as_str() {
                "--help" | "-h" => arguments.wants_help = true,
                "--html" => arguments.html = Some(value()?),
                "--svg" => arguments.svg = Some(value()?),
                option if option.starts_with('-') => {
                    return Err(Failure::Usage(format!("there is no option {option}")));
                }
                _ => arguments.words.push(word),
            }
        }
        Ok(arguments)
    }

    fn needs_a_file(&self) -> Result<(), Failure> {
        match (&self.html, &self.svg) {
            (None, None) => Err(Failure::Usage("--html or --svg is needed".to_owned())),
            _ => Ok(()),
        }
    }

    /// Writes the files that were asked for.
    fn write(
        &self,
        page: impl Fn() -> Result<String, Failure>,
        picture: impl Fn() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if let Some(out) = &self.html {
            write(out, &page()?)?;
        }
        if let Some(out) = &self.svg {
            write(out, &picture()?)?;
        }
        Ok(())
    }

    fn refuse_svg(&self) -> Result<(), Failure> {
        match self.svg {
            Some(_) => Err(Failure::Usage("compare has no --svg".to_owned())),
            None => Ok(()),
        }
    }
}

fn compare_strategies(path: &str, arguments: &Arguments) -> Result<(), Failure> {
    arguments.needs_a_file()?;
    let failure = |error: &dyn std::fmt::Display| Failure::Other(format!("{path}: {error}"));
    let document = serde_json::from_str(&read_text(path)?).map_err(|error| failure(&error))?;
    arguments.write(
        || strategies::html(&document).map_err(|error| failure(&error)),
        || strategies::svg(&document).map_err(|error| failure(&error)),
    )
}

fn read_run(path: &str) -> Result<RunResult, Failure> {
    read::run(&read_text(path)?).map_err(|error| Failure::Other(format!("{path}: {error}")))
}

fn read_text(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::Other(format!("{path}: {error}")))
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    std::fs::write(Path::new(path), text)
        .map_err(|error| Failure::Other(format!("{path}: {error}")))
}
