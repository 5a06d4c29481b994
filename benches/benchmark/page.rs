//! The page of figures, `docs/benchmark.md`: a section for each question. A run replaces the figures of the sections that it
//! has measured, and keeps the others.

use std::collections::BTreeMap;

use clap::ValueEnum;

/// A section of the page, which can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Section {
    Patch,
    Debian,
    Transition,
    Space,
    Growth,
    Compare,
    Start,
    Downloads,
    Making,
    Stages,
    Libs,
    Bulk,
    Fleet,
}

/// The text of a section besides its figures.
struct About {
    /// The heading.
    question: &'static str,
    /// The paragraph below it: what is measured, and beside what.
    method: &'static str,
    /// Minutes on two cores, estimated.
    minutes: u32,
}

/// The beginning of the page.
const HEAD: &str = "\
# Figures

This page shows what patchadm costs, and what the least possible costs beside it. `cargo bench --bench benchmark` makes it. Each
section can be measured by itself, which replaces its figures and keeps the others; `--write-docs` writes the page. First build all
programs: `cargo build --profile bench --locked`. Run as root, it measures on images of ext4 and xfs of its own; otherwise name a
directory in `PATCHADM_BENCH_DIR`. The minutes are estimates for two cores.

| section | command | minutes |
| --- | --- | ---: |
";

/// The text between the table of sections and the first section.
const METHOD: &str = "
How to read the tables:

- The program is built by the profile `bench`, which is that of releases. Each command is a whole process. Figures are medians, with
  the least and the most in brackets. Commands that are compared run in turns. The page cache is warm.
- The *floor* is a program that does the same work without safety: it knows beforehand what to do, checks nothing and records
  nothing. For patches there are two. The *gzip floor* saves the old files as one stream of `gzip -1`, the *link floor* gives them
  second names. Both write the new files beside the old ones, sync, rename and sync.
- *Target* is the most that a figure may be: as a number, or as a multiple of the floor.
- *Flushes* are cache flushes that reached the block device. *Switch window* is the time from the first to the last changed file,
  in which other programs can see old files beside new ones.
- The files of most sections follow from a fixed seed: 20,000 files of 400 MB, two of three like object code and the others like
  text. The patch replaces 2,000 of them (41 MB), adds 50 and deletes 20.
- Bytes in MB are millions.
";

/// The beginning of the figures of a section.
const MEASURED: &str = "*Measured ";

impl Section {
    pub(crate) const ALL: [Self; 13] = [
        Self::Patch,
        Self::Debian,
        Self::Transition,
        Self::Space,
        Self::Growth,
        Self::Compare,
        Self::Start,
        Self::Downloads,
        Self::Making,
        Self::Stages,
        Self::Libs,
        Self::Bulk,
        Self::Fleet,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The command that measures the section.
    pub(crate) fn command(self) -> String {
        let more = if self == Self::Debian { " --branch RELEASE STABLE" } else { "" };
        format!("cargo bench --bench benchmark -- {}{more} --write-docs", self.name())
    }

    /// The heading.
    pub(crate) fn question(self) -> &'static str {
        self.about().question
    }

    fn about(self) -> About {
        let (question, method, minutes) = match self {
            Self::Patch => (
                "How long does a patch take?",
                "`add` and `remove` of one patch, with undo data as an archive, which is the default, and as files. The phases are \
                 those of a run that `strace` watches. In `prepare` patchadm reads and digests the patch and the old files, and \
                 plans; in `stage` it writes, compresses, and verifies what it compressed; in `records` it publishes the \
                 records and cleans up. System calls are those of all threads, divided by the number of changed files.",
                10,
            ),
            Self::Debian => (
                "How long does a real update take?",
                "The packages that differ between two directories of Debian packages, as one patch. Only regular files are \
                 taken. Name the directories with `--branch RELEASE STABLE`; the targets are for nine packages.",
                6,
            ),
            Self::Transition => (
                "How long is the root in transition?",
                "The switch window. For a promotion another process watches some of the files.",
                8,
            ),
            Self::Space => (
                "How much space does it need?",
                "Undo data, and the resident memory of the largest process.",
                8,
            ),
            Self::Growth => (
                "How does it grow?",
                "One kind of thing becomes more: files in a patch, patches in one command, patches before it, roots, lines of \
                 `contents`.",
                15,
            ),
            Self::Compare => (
                "How does it compare?",
                "The same change by others. dpkg and rpm install uncompressed packages without scripts: the full package, and one \
                 of only the changed files. Their way back is to install the old version. rsync and the snapshot, a copy of the tree \
                 with shared blocks, record nothing and do not sync. OSTree pulls the new tree from a repository beside it, \
                 checks it out as hard links and renames it into place.",
                18,
            ),
            Self::Start => (
                "How long do start-up and queries take?",
                "The floor is `/bin/true`. Lists are of a root with 200 patches; the other queries are of a root with 1,000 \
                 packages, 5,000 patches and 400,000 objects. The hooks are those of `apt` and `dpkg`, in a root in which no package \
                 is adopted.",
                4,
            ),
            Self::Downloads => (
                "How long do downloads take?",
                "The server is a thread of the benchmark on the loopback address. With latency it waits 20 ms before each answer.",
                8,
            ),
            Self::Making => (
                "How long does it take to make packages and patches?",
                "Each command beside the copying or digesting that it cannot do without.",
                12,
            ),
            Self::Stages => (
                "How long does a promotion take?",
                "A stage of the tree, beside `cp -a` for the copy, and `rsync -a`, `rsync -a --delete` and `sync -f` for the \
                 promotion. rsync does not read files with unchanged size and time, and saves nothing for a way back.",
                6,
            ),
            Self::Libs => (
                "What does the search for libraries cost?",
                "A plan that removes a library from a root of 65,000 files; 2,500 of them are programs or libraries. The floor opens \
                 every file and reads four bytes, or asks for the status of every object, on one core.",
                5,
            ),
            Self::Bulk => (
                "What does a bulk build add to the compilers?",
                "Recipes and packages that do almost nothing, two at a time. The floor runs the same scripts in no sandbox, for no \
                 result. *Each* is wall time × 2 ÷ the number of packages or recipes.",
                12,
            ),
            Self::Fleet => (
                "What do many hosts cost?",
                "Reports about the inventories of many hosts; and a patch on 100 roots of one machine, by one command and by Ansible.",
                6,
            ),
        };
        About { question, method, minutes }
    }
}

/// Returns the page with these figures; those of other sections are taken from the old page.
pub(crate) fn page(old: &str, measured: &BTreeMap<Section, String>) -> String {
    let mut page = HEAD.to_owned();
    for section in Section::ALL {
        let (question, minutes) = (section.question(), section.about().minutes);
        page += &format!("| [{question}](#{}) | `{}` | {minutes} |\n", anchor(question), section.command());
    }
    page += METHOD;
    for section in Section::ALL {
        let figures = measured.get(&section).cloned().or_else(|| figures_of(old, section));
        let figures =
            figures.unwrap_or_else(|| format!("**Not measured yet**: run `{}`.\n", section.command()));
        let About { question, method, .. } = section.about();
        page += &format!("\n## {question}\n\n{method}\n\n{}\n", figures.trim_end());
    }
    page
}

/// Returns the figures of a section of a page.
fn figures_of(page: &str, section: Section) -> Option<String> {
    let (_, rest) = page.split_once(&format!("\n## {}\n", section.question()))?;
    let own = rest.split("\n## ").next()?;
    own.find(MEASURED).map(|at| own[at..].to_owned())
}

/// Returns the line with which the figures of a section begin.
pub(crate) fn measured_line(when: &str, by: &str, machine: &str) -> String {
    format!("{MEASURED}{when} {by}, on {machine}.*\n")
}

/// Returns the anchor that browsers know a heading by.
fn anchor(heading: &str) -> String {
    let letter = |letter: char| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '-' => Some(letter.to_ascii_lowercase()),
        _ => None,
    };
    heading.chars().filter_map(letter).collect()
}
