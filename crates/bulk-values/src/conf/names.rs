//! The names of `bulk.conf`, each with its default and a line of explanation: what a fresh file says, and what a wrong
//! name is compared with.

/// A name of `bulk.conf`.
pub(super) struct SettingName {
    /// The name.
    pub(super) name: &'static str,
    /// Whether it may stand more than once.
    pub(super) is_repeatable: bool,
    /// The value in force without a line; `None` if that is no value, or depends on the machine.
    pub(super) default: Option<&'static str>,
    /// The form of a value, for a fresh file.
    form: &'static str,
    /// A line of explanation, without a full stop.
    pub(super) text: &'static str,
}

impl SettingName {
    /// Returns what a fresh file has behind `NAME=`: the default, or else the form of a value.
    pub(super) fn shown(&self) -> &'static str {
        self.default.unwrap_or(self.form)
    }
}

/// What of the host a build sees if the base is the host.
pub(super) const HOST: &str = "/usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc/alternatives /etc/ld.so.cache \
                               /etc/ld.so.conf /etc/ld.so.conf.d /etc/ssl";

const fn with(name: &'static str, default: &'static str, text: &'static str) -> SettingName {
    SettingName { name, is_repeatable: false, default: Some(default), form: "", text }
}

const fn without(name: &'static str, form: &'static str, text: &'static str) -> SettingName {
    SettingName { name, is_repeatable: false, default: None, form, text }
}

const fn repeatable(name: &'static str, form: &'static str, text: &'static str) -> SettingName {
    SettingName { name, is_repeatable: true, default: None, form, text }
}

/// All names, in the order of a fresh file.
pub(super) const NAMES: &[SettingName] = &[
    without("tree", "PATH", "The tree of recipes; it must be given"),
    without(
        "driver",
        "PATH",
        "The programs that know the tree: WORK/driver if it exists, else the tree itself",
    ),
    without("list", "FILE", "All packages that are wanted, a name a line; without it every location"),
    with("pool", "pool", "The results; may be shared by several working directories"),
    with("distfiles", "distfiles", "The sources that were fetched; may be shared, too"),
    repeatable("file_source", "PATH", "A directory of the machine from which `file:` sources may come"),
    with("base", "host", "The system that builds see: `host`, or a directory with a whole system"),
    without("base_id", "COMMAND", "A command whose output stands for the state of the base"),
    with("host", HOST, "With base=host: what of the host builds see, read-only, if it exists"),
    repeatable(
        "mount",
        "[rw:]SRC[:DST]",
        "What else of the machine builds see; with rw: they may write there",
    ),
    with("build_as", "user", "The user in a build: `user`, or `root` (of the sandbox only)"),
    without("build_user", "NAME", "The user that fetches sources if the caller is root"),
    without(
        "ids",
        "START[:COUNT]",
        "If the caller is root: the ids that all users of a sandbox have on this machine, and nobody else has",
    ),
    with("network", "no", "The network of builds: `no`, `yes`, or patterns of packages that get it"),
    repeatable("env", "NAME=VALUE", "A variable for scan, build and fetch"),
    repeatable(
        "slot",
        "NAME COUNT [cores=N] [answer=TIME] [cancel=COMMAND] [PREFIX...]",
        "Where tasks run, and how many at a time; without one on this machine, one for two cores",
    ),
    without("cores", "N", "The cores of this machine that tasks may use; without it all"),
    without(
        "memory_budget",
        "SIZE",
        "The memory that all tasks of this machine may use together; without it no limit",
    ),
    without("build_dir", "PATH", "Where tasks work, local to each machine; without it WORK/build"),
    with(
        "installed_limit",
        "10G",
        "The disk space for installed dependencies that are kept for the next build",
    ),
    with("wait_for_slots", "10m", "How long a run waits where no slot works; 0 is no limit"),
    with("wait_for_room", "30s", "The same where the build_dir of every slot is full"),
    with("time", "1h", "The longest build"),
    with("silence", "20m", "The longest time without output of a build"),
    with("cpu", "1h", "The most CPU time of one process"),
    with("memory", "0", "The most memory of a build; 0 is no limit"),
    with("processes", "4096", "The most processes of a build"),
    with("disk", "20G", "The most disk space of a build"),
    with("output", "64M", "The longest log of a build"),
    repeatable(
        "limit",
        "PATTERN NAME=VALUE...",
        "Limits for some packages; the last line that fits wins, name by name",
    ),
    with("scan_time", "60s", "The longest call of scan, and of fetch"),
    with(
        "key_depends",
        "scan",
        "The files that results depend on: `scan`, those a scan read, or `location`, the recipe's own",
    ),
    with(
        "check",
        "install",
        "The check of results: `none`, `install` and remove, or `strict`, which leaves nothing over",
    ),
    without("limit_max", "NAME=VALUE...", "How far records may raise limits; without it not at all"),
    with("restricted", "no", "Whether restricted packages get patches, too"),
    without("required", "PATTERN...", "Packages without which there is no new set"),
    without("minimum", "N or N%", "The least packages of a new set: a number, or a share of the set before"),
    with(
        "set_on_failure",
        "old",
        "What a set has of a package that failed: the `old` one, `without` it, or `none`: no set",
    ),
    without("patch_ids", "FILE", "The ids of patches, for delta"),
    without("depot", "PATH", "Where patches are published; a run then makes them"),
    without("key", "FILE", "The secret key that signs patches; a run then signs and publishes them"),
    without("password_file", "FILE", "The password of the key"),
    without("report_to", "ADDRESS...", "Who gets the report by mail"),
    without("report_from", "ADDRESS", "The sender of the report"),
    with("report_subject", "bulk build", "What the subject of the report begins with"),
    without("report_url", "URL", "The address of the directory of a run, for the report"),
    without(
        "report_command",
        "COMMAND",
        "A command that gets the mail on its standard input, such as sendmail -t",
    ),
    without("report_copy", "PATH", "A directory that gets a copy of reports and of the logs of what failed"),
    without(
        "upload_command",
        "COMMAND",
        "A command that uploads the packages of each new set, called in the directory that has them",
    ),
    with("keep_failed", "0", "How many work directories of failed builds are kept, for enter --failed"),
    without("poll", "COMMAND", "A command whose output tells whether the tree changed"),
    with("keep_runs", "10", "The runs that prune keeps"),
];

/// How alike a wrong name and a known one must be for the known one to be told: the measure of clap for options.
const ALIKE: f64 = 0.7;

/// Returns the known name.
pub(super) fn find(name: &str) -> Option<&'static SettingName> {
    NAMES.iter().find(|known| known.name == name)
}

/// Returns the known name that is most like a wrong one, if one is like it.
pub(super) fn nearest(wrong: &str) -> Option<&'static str> {
    let alike = NAMES.iter().map(|known| (strsim::jaro(wrong, known.name), known.name));
    let alike = alike.filter(|(measure, _)| *measure > ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}
