//! The tours of `README.md` and of the book are true: the commands of each page run one after another in one shell,
//! and print what the page shows.
//!
//! The comparison ignores dates, sizes, the numbers of runs and attributes that the tests' user cannot set. A few
//! commands are not run, because they build the program, need another program, or need a power cut at the right
//! moment.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;

use crate::bulk::BulkBuild;
use crate::scenario::{directory, is_root};

/// Commands that have one of these in them are not run.
const NOT_RUN: [&str; 4] = ["cargo ", "| jq ", "kill -9", "~/opt"];

/// The line between the outputs of two commands.
const MARK: &str = "@@ next command @@";

/// A command of the tour, and what it prints.
pub(crate) struct Shown {
    pub(crate) command: String,
    pub(crate) output: String,
}

#[test]
fn the_tour_prints_what_it_says() {
    let readme = text_of("README.md");
    let (_, tour) = readme.split_once("\n## A tour\n").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    let mut tour = commands_in(tour);
    tour.retain(|shown| !NOT_RUN.iter().any(|word| shown.command.contains(word)));
    assert!(tour.len() > 6, "only {} commands of the tour are run", tour.len());
    print_what_they_say(&tour);
}

#[test]
fn the_page_about_machines_prints_what_it_says() {
    let mut tour = commands_of_page("run-machines.md");
    let pulled = tour.iter().position(|shown| shown.command.contains("kill -9")).unwrap();
    let recovered = tour[pulled..].iter().position(|shown| shown.command.ends_with(" recover")).unwrap();
    tour.remove(pulled + recovered);
    tour.retain(|shown| !NOT_RUN.iter().any(|word| shown.command.contains(word)));
    assert!(tour.len() > 15, "only {} commands of the tour are run", tour.len());
    let outputs = run(&tour, &[]);
    assert_eq!(outputs.len(), tour.len());
    for (shown, output) in tour.iter().zip(outputs) {
        assert_eq!(steady(&output), steady(&shown.output), "$ {}", shown.command);
    }
}

in_parts!(the_pages_about_making_staging_solaris_and_fleets_print_what_they_say, play_page, 4);

fn play_page(part: usize, parts: usize) {
    let pages = [("make-patches.md", 11), ("stages.md", 6), ("from-solaris.md", 9), ("fleets.md", 14)];
    assert_eq!(parts, pages.len());
    let (page, least) = pages[part];
    let commands = commands_of_page(page);
    assert!(commands.len() >= least, "only {} commands of {page} are run", commands.len());
    print_what_they_say(&commands);
}

#[test]
fn a_library_is_updated_under_an_old_program_as_it_says() {
    if Command::new("cc").arg("--version").output().is_err() {
        crate::missing("cc", "a_library_is_updated_under_an_old_program_as_it_says");
        return;
    }
    let mut commands = commands_of_page("old-program.md");
    assert!(commands.len() > 25, "only {} commands are run", commands.len());
    let shop = Shown { command: "patchadm demo shop > /dev/null".to_owned(), output: String::new() };
    commands.insert(0, shop);
    print_what_they_say(&commands);
}

/// Returns true if Debian packages can be built and installed; otherwise skips the test by name.
fn can_install_debs(test: &str) -> bool {
    if !is_root() {
        crate::skipped(&format!("{test}: only root installs with dpkg"));
        return false;
    }
    crate::has("dpkg-deb", test) && crate::has("tar", test)
}

#[test]
fn a_fix_to_a_packaged_library_meets_the_next_upgrade_as_it_says() {
    if !can_install_debs("a_fix_to_a_packaged_library_meets_the_next_upgrade_as_it_says") {
        return;
    }
    let commands = commands_of_page("packaged-library.md");
    assert!(commands.len() > 12, "only {} commands are run", commands.len());
    print_what_they_say(&commands);
}

#[test]
fn verifiers_say_of_patched_files_what_the_page_says() {
    if !can_install_debs("verifiers_say_of_patched_files_what_the_page_says") {
        return;
    }
    let commands = commands_of_page("verifiers.md");
    assert!(commands.len() > 12, "only {} commands are run", commands.len());
    print_what_they_say(&commands);
}

#[test]
fn a_change_on_trial_is_confirmed_or_goes_back_as_it_says() {
    let commands = commands_of_page("trial.md");
    assert!(commands.len() > 5, "only {} commands are run", commands.len());
    print_what_they_say(&commands);
}

#[test]
fn every_page_of_the_book_is_in_its_summary_and_every_page_with_commands_is_played() {
    const PLAYED: [&str; 10] = [
        "fleets.md",
        "from-solaris.md",
        "from-sources.md",
        "make-patches.md",
        "old-program.md",
        "packaged-library.md",
        "run-machines.md",
        "stages.md",
        "trial.md",
        "verifiers.md",
    ];
    let summary = text_of("docs/book/src/SUMMARY.md");
    let pages = fs::read_dir(project().join("docs/book/src")).unwrap();
    for page in pages.map(|page| page.unwrap().file_name().into_string().unwrap()) {
        if page == "SUMMARY.md" {
            continue;
        }
        assert!(summary.contains(&format!("]({page})")), "{page} is in no list");
        // The page about installation is not played.
        let has_commands = !commands_of_page(&page).is_empty() && page != "install.md";
        assert_eq!(has_commands, PLAYED.contains(&&*page), "{page}");
    }
}

/// Runs the commands, and compares their outputs except for sizes.
fn print_what_they_say(commands: &[Shown]) {
    // The size of a program depends on its compiler.
    static SIZE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\d.]+ (bytes|[KMG]iB)").unwrap());
    let outputs = run(commands, &[]);
    assert_eq!(outputs.len(), commands.len());
    let without_sizes = |text: &str| SIZE.replace_all(&steady(text), "SIZE").into_owned();
    for (shown, output) in commands.iter().zip(outputs) {
        assert_eq!(without_sizes(&output), without_sizes(&shown.output), "$ {}", shown.command);
    }
}

#[test]
fn what_changes_from_run_to_run_is_passed_over() {
    let one = "100-01  effective  2026-11-20 09:27  undo data: 3.1 KiB\nrun 8-ce71e7e45c8957eb\n";
    let other = "100-01  effective  2026-12-05 19:00  undo data: 999 bytes\nrun 9-0000000000000000\n";
    assert_eq!(steady(one), steady(other));
    assert_ne!(steady(one), steady(&one.replace("effective", "superseded")));
}

#[test]
fn packages_are_built_from_their_sources_and_patched_to_the_next_set_in_twelve_commands() {
    let test = "packages_are_built_from_their_sources…";
    if BulkBuild::of_sample(test, !is_root(), "").is_none() {
        return;
    }
    let mut commands = commands_of_page("from-sources.md");
    assert_eq!(commands.len(), 12);
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/tree");
    commands[0].command = commands[0].command.replace("testdata/bulk/tree", sample);
    print_what_they_say(&commands);
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap()
}

/// The commands of a page of the book.
fn commands_of_page(page: &str) -> Vec<Shown> {
    commands_in(&text_of(&format!("docs/book/src/{page}")))
}

/// The commands of all code blocks of a text.
fn commands_in(section: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for block in section.split("```").skip(1).step_by(2) {
        // Lines in a block before its first command are no output.
        let lines = block.lines().skip(1).skip_while(|line| !line.starts_with("$ "));
        for line in lines {
            if let Some(command) = line.strip_prefix("$ ") {
                shown.push(Shown { command: command.to_owned(), output: String::new() });
            } else if let (Some(more), Some(last)) = (line.strip_prefix("> "), shown.last_mut()) {
                last.command.push('\n');
                last.command.push_str(more);
            } else if let Some(last) = shown.last_mut() {
                last.output.push_str(line);
                last.output.push('\n');
            }
        }
    }
    shown
}

/// Runs the commands in one shell, in a directory of its own, and returns the output of each on both streams. The
/// commands in `named` can be called by their own names.
pub(crate) fn run(tour: &[Shown], named: &[&str]) -> Vec<String> {
    let (dir, bin) = (directory(), directory());
    for name in named.iter().chain(&["patchadm"]) {
        symlink(env!("CARGO_BIN_EXE_patchadm"), bin.path().join(name)).unwrap();
    }
    // The mark keeps the exit code of the command before it, which the tour prints.
    let mut script = format!("umask 022; mark() {{ code=$?; echo '{MARK}'; return $code; }}\n");
    for shown in tour {
        let _ = writeln!(script, "mark\n{}", shown.command);
    }
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(&dir)
        .env_clear()
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.path().display()))
        .env("LC_ALL", "C")
        .env("HOME", dir.path())
        .env("PATCHADM_EVENTS", "none")
        .output()
        .unwrap();
    // The tour pretends to be in somebody's home directory.
    let text =
        String::from_utf8(output.stdout).unwrap().replace(&dir.path().display().to_string(), "/home/you");
    text.split(&format!("{MARK}\n")).skip(1).map(str::to_owned).collect()
}

/// A text without the parts that differ in every run or for every user.
pub(crate) fn steady(text: &str) -> String {
    static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let changing = [
            (r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]\d [\d:]{8} UTC \d{4}", "DATE"),
            (r"(Space on \S+: ).*", "${1}SPACE"),
            (r"\d{4}-\d{2}-\d{2}T[\d:]{8}Z", "DATE"),
            (r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}(:\d{2})?\b", "DATE"),
            (r"(Using \S+ from ).*", "${1}DATE"),
            (r"undo data: (files \()?\S+ \S+", "undo data: SIZE"),
            (r"(?m)^(\d+ patches: .*; )[\d.]+ s$", "${1}TIME"),
            (r"\d+-[0-9a-f]{16}", "RUN"),
            (r"\b[0-9A-F]{16}\b", "KEY"),
            (r"(?m)^( *note|NOTE): owners and groups that are recorded but not set.*\n", ""),
            // A user takes longer than a second to type the commands.
            (r"(?m)^ +note: .* the same size and modification time; .*\n", ""),
        ];
        changing.map(|(pattern, word)| (Regex::new(pattern).unwrap(), word)).into()
    });
    CHANGING
        .iter()
        .fold(text.to_owned(), |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
}
