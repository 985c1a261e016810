//! The program `holdfast-bench-report`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast-bench-report")).args(words).output().unwrap()
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

/// A file that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Scratch(std::env::temp_dir().join(format!("holdfast-report-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that was not written needs no removal.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn assert_fails(words: &[&str], status: i32, says: &str) {
    let output = run(words);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{words:?}: {error}");
    assert!(error.contains(says), "{words:?}: {error}");
}

#[test]
fn run_writes_a_page_and_a_picture() {
    let (page, picture) = (Scratch::new("run.html"), Scratch::new("run.svg"));
    let path = fixture("rich.json");
    let output = run(&["run", &path, "--html", page.path(), "--svg", picture.path()]);
    assert!(picture.text().contains("Latency of hold"));
    assert!(output.status.success(), "{output:?}");
    assert!(page.text().starts_with("<!DOCTYPE html>") && page.text().ends_with("</html>"));
}

#[test]
fn compare_prints_and_writes_a_page() {
    let page = Scratch::new("compare.html");
    let (path, html) = (fixture("rich.json"), format!("--html={}", page.path()));
    let output = run(&["compare", &path, &path, &html]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("Hold, latency"));
    assert!(page.text().contains("two-events, twice"));
}

#[test]
fn strategies_writes_a_page_and_a_picture() {
    let (page, picture) = (Scratch::new("s.html"), Scratch::new("s.svg"));
    let path = fixture("strategies.json");
    let output = run(&["strategies", &path, "--html", page.path(), "--svg", picture.path()]);
    assert!(output.status.success(), "{output:?}");
    assert!(page.text().contains("Holdfast") && picture.text().contains("Holdfast"));
}

#[test]
fn help_is_no_failure_and_a_wrong_command_line_is_one() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("Usage:"));
    assert_fails(&[], 2, "say what to render");
    assert_fails(&["run", "a.json"], 2, "--html or --svg is needed");
    assert_fails(&["run", "a.json", "--html"], 2, "--html needs a file");
    assert_fails(&["walk", "a.json"], 2, "`walk a.json` is not understood");
    assert_fails(&["run", "a.json", "--pdf", "b"], 2, "no option --pdf");
    assert_fails(&["compare", "a.json", "b.json", "--svg", "c"], 2, "compare has no --svg");
    assert_fails(&["strategies", "a.json"], 2, "--html or --svg is needed");
}

#[test]
fn unreadable_documents_are_named() {
    let page = Scratch::new("never.html");
    assert_fails(&["run", "/nowhere.json", "--html", page.path()], 1, "/nowhere.json: ");
    let strategies = fixture("strategies.json");
    assert_fails(&["run", &strategies, "--html", page.path()], 1, "this is no result of a run");
    let run = fixture("rich.json");
    assert_fails(&["strategies", &run, "--html", page.path()], 1, "no strategies");
    let next = Scratch::new("next.json");
    let text = std::fs::read_to_string(&run).unwrap();
    std::fs::write(&next.0, text.replacen("\"format\":1", "\"format\":2", 1)).unwrap();
    assert_fails(&["run", next.path(), "--html", page.path()], 1, "has format 2");
    assert!(!page.0.exists());
}
