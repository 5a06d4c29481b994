//! One source: keeps a patch of the present inputs, or builds a new one with the next revision.
//!
//! A patch's key digests everything it is built from. With the same key the same patch comes out: nothing is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::path::PathBuf;

use chrono::DateTime;
use patchadm_inputs::sign::{sha256, sha256_text};
use patchadm_rootfs::WorkMeter;
use patchadm_svr4::patch::{PatchId, Requirements};

use super::inputs::{InputEntry, SourcePackages};
use super::request::{DeltaRequest, PatchToTry, SourceEnd, SourceFailure, SourceOutcome, TrialFailure};
use super::requirements::{required_patches, requirements};
use super::state::{BuiltNews, BuiltRecord, file_name};
use super::work::{PatchCondition, WorkDirectory};
use crate::build::{
    BuildError, BuildFinding, BuildRequest, OtherPatch, PatchDestination, PatchDraft, PatchForm,
    PreviousPatch, ReleaseSide, WriteWatch, draft_patch, write_patch,
};
use crate::release::{Release, ReleaseError, ReleasePackage, ReleaseProblem, open_packages};

pub(super) struct SourceRun<'a> {
    pub(super) request: &'a DeltaRequest<'a>,
    pub(super) work: &'a WorkDirectory,
    pub(super) files: &'a [InputEntry],
    pub(super) others: &'a [OtherPatch],
    pub(super) against: &'a [String],
    pub(super) cores: usize,
}

struct SourceJob<'a> {
    name: &'a str,
    packages: &'a SourcePackages,
    requires: Requirements,
    outcome: SourceOutcome,
}

impl SourceRun<'_> {
    pub(super) fn outcome(&self, name: &str, packages: &SourcePackages) -> SourceOutcome {
        let outcome = SourceOutcome::new(name, SourceEnd::Unchanged, "");
        let mut job = SourceJob { name, packages, requires: Requirements::default(), outcome };
        let end = match ((self.request.interrupt)(), &packages.damage) {
            (Some(signal), _) => Err(BuildError::Interrupted(signal).into()),
            (None, Some(error)) => Err(SourceFailure::Release(error.clone())),
            (None, None) => self.patch(&mut job),
        };
        let mut outcome = job.outcome;
        outcome.unpaired.clone_from(&packages.unpaired);
        outcome.end = end.unwrap_or_else(|failure| {
            outcome.reason = failure.to_string();
            SourceEnd::Failed(Box::new(failure))
        });
        outcome
    }

    fn patch(&self, job: &mut SourceJob<'_>) -> Result<SourceEnd, SourceFailure> {
        let records = self.work.of_source(job.name);
        if job.packages.pairs.is_empty() {
            job.outcome.id = records.last().map(|record| record.id.clone());
            return Ok(job.alone());
        }
        if records.is_empty() && job.packages.is_same() {
            self.forget_unfinished(job.name, None)?;
            return Ok(job.unchanged("the files are the same"));
        }
        let base = self.work.base_of(job.name)?;
        let needed = self.request.needs.get(job.name).map(Vec::as_slice).unwrap_or_default();
        job.requires = requirements(self.work, needed, self.request.is_dry_run)?;
        let earlier = self.earlier(&records)?;
        let key = |id: &PatchId, previous: Option<&EarlierRevision>| self.key(job, id, previous);
        match choose(&base, earlier.as_ref(), self.request.rebuild, &key)? {
            RevisionChoice::Keep => {
                let Some(last) = records.last() else { return Ok(SourceEnd::Kept) };
                self.forget_unfinished(job.name, Some(last))?;
                self.forget_other_forms(last)?;
                job.kept(last, self.work);
                Ok(SourceEnd::Kept)
            }
            RevisionChoice::Make(next) => self.make(job, earlier.as_ref(), &next),
        }
    }

    /// If nothing is left to deliver under this id, the patch gets the next one.
    fn make(
        &self,
        job: &mut SourceJob<'_>,
        earlier: Option<&EarlierPatches>,
        next: &NextRevision,
    ) -> Result<SourceEnd, SourceFailure> {
        match self.build(job, next) {
            Err(SourceFailure::Build(BuildError::NothingChanged { .. })) if next.previous.is_none() => {}
            built => return built,
        }
        match earlier {
            None => {
                self.forget_unfinished(job.name, None)?;
                Ok(job.unchanged("the objects are the same"))
            }
            Some(EarlierPatches { last, condition: PatchCondition::AsBuilt(manifest), .. }) => {
                let previous = Some(EarlierRevision { record: last.clone(), manifest: manifest.clone() });
                let next = NextRevision { id: after(&next.id)?, previous, replaces: None };
                self.build(job, &next)
            }
            Some(EarlierPatches { last, condition: PatchCondition::NotAsBuilt(fault), .. }) => {
                Err(SourceFailure::NotAsBuilt { path: last.path.clone().into(), fault })
            }
        }
    }

    /// Writes the log even if the build fails.
    fn build(&self, job: &mut SourceJob<'_>, next: &NextRevision) -> Result<SourceEnd, SourceFailure> {
        let key = self.key(job, &next.id, next.previous.as_ref());
        let request = self.patch_request(job, &next.id);
        let mut text = log_beginning(job.name, request.date, job.packages, self.files);
        let opened = self.open_both(job);
        let built = self.previous(next).and_then(|previous| {
            let (from, to) = opened?;
            let draft = draft_patch(&from, &to, previous.as_ref(), self.others, &request)?;
            self.must_be_unchanged(job.packages)?;
            text += &log_of_draft(&draft);
            job.built(&draft, next, key);
            let path = self.work.at("patches").join(file_name(&next.id, self.request.form));
            job.outcome.path = Some(path);
            if self.request.is_dry_run {
                return Ok(None);
            }
            let record = self.write(job, &draft)?;
            self.pass_trial(job, &draft.id, &mut text)?;
            Ok(Some(record))
        });
        let end = match built {
            Err(SourceFailure::Build(error @ BuildError::NothingChanged { .. })) => return Err(error.into()),
            Err(failure) => {
                (job.outcome.path, job.outcome.key) = (None, None);
                job.outcome.scripts_left_out.clear();
                job.outcome.id = Some(next.id.to_string());
                job.outcome.reason = failure.to_string();
                SourceEnd::Failed(Box::new(failure))
            }
            Ok(record) => {
                if let Some(record) = record {
                    self.enter(record, &next.id)?;
                }
                SourceEnd::Built
            }
        };
        job.outcome.end = end;
        if !self.request.is_dry_run {
            text += &log_end(&job.outcome);
            job.outcome.log = Some(self.work.put_log(&next.id.to_string(), text.as_bytes())?);
        }
        Ok(std::mem::replace(&mut job.outcome.end, SourceEnd::Unchanged))
    }

    fn write(&self, job: &SourceJob<'_>, draft: &PatchDraft<'_>) -> Result<BuiltRecord, SourceFailure> {
        let file = file_name(&draft.id, self.request.form);
        if self.work.is_signed(&file)? {
            return Err(SourceFailure::Signed(format!("patches/{file}").into()));
        }
        self.work.note_base(job.name, draft.id.base())?;
        let path = self.work.at("patches").join(&file);
        let destination = PatchDestination { path, form: self.request.form, replaces: true };
        // Counts sources, not the bytes of one.
        let watch = WriteWatch { interrupt: &|| (self.request.interrupt)(), meter: &WorkMeter::default() };
        let written = write_patch(draft, &destination, watch)?;
        self.work.settle(&file)?;
        let key = job.outcome.key.clone().unwrap_or_default();
        let sha256 = sha256_text(&written.sha256);
        let news = Some(BuiltNews {
            reason: job.outcome.reason.clone(),
            packages: job.outcome.packages.clone(),
            siblings_unchanged: job.outcome.siblings_unchanged.clone(),
            scripts_left_out: job.outcome.scripts_left_out.clone(),
        });
        Ok(BuiltRecord { news, ..BuiltRecord::of(job.name, &draft.id, key, self.request.form, sha256) })
    }

    fn pass_trial(&self, job: &SourceJob<'_>, id: &PatchId, text: &mut String) -> Result<(), SourceFailure> {
        let (Some(trials), Some(path)) = (self.request.trials, &job.outcome.path) else { return Ok(()) };
        let required = required_patches(self.work, &self.request.needs, job.name);
        let tried = trials.try_patch(&PatchToTry { source: job.name, id, path, required: &required });
        text.push_str(&String::from_utf8_lossy(&tried.log));
        let Err(failure) = tried.end else { return Ok(()) };
        self.work.remove_other_forms(id, None)?;
        Err(match failure {
            TrialFailure::Interrupted(signal) => BuildError::Interrupted(signal).into(),
            failure => SourceFailure::Trial(failure),
        })
    }

    fn enter(&self, record: BuiltRecord, id: &PatchId) -> Result<(), SourceFailure> {
        let file = record.file().to_owned();
        self.work.enter(record)?;
        Ok(self.work.remove_other_forms(id, Some(&file))?)
    }

    /// Removes an unfinished patch of a killed run if this run does not make it.
    fn forget_unfinished(&self, source: &str, last: Option<&BuiltRecord>) -> Result<(), SourceFailure> {
        if self.request.is_dry_run {
            return Ok(());
        }
        let next = match last {
            Some(last) => after(&PatchId::new(&last.id)?),
            None => self.work.base_of(source).and_then(|base| Ok(PatchId::new(&format!("{base}-01"))?)),
        };
        // A name that cannot begin an id has no patch.
        next.map_or(Ok(()), |id| Ok(self.work.remove_other_forms(&id, None)?))
    }

    /// Removes the patch of a killed run in another form.
    fn forget_other_forms(&self, last: &BuiltRecord) -> Result<(), SourceFailure> {
        if self.request.is_dry_run {
            return Ok(());
        }
        Ok(self.work.remove_other_forms(&PatchId::new(&last.id)?, Some(last.file()))?)
    }

    fn earlier(&self, records: &[BuiltRecord]) -> Result<Option<EarlierPatches>, SourceFailure> {
        let Some((last, rest)) = records.split_last() else { return Ok(None) };
        let before = match rest.last() {
            None => None,
            Some(record) => match self.work.condition(record)? {
                PatchCondition::AsBuilt(manifest) => {
                    Some(EarlierRevision { record: record.clone(), manifest })
                }
                PatchCondition::NotAsBuilt(fault) => {
                    return Err(SourceFailure::NotAsBuilt { path: record.path.clone().into(), fault });
                }
            },
        };
        let (condition, is_signed) = (self.work.condition(last)?, self.work.is_signed(last.file())?);
        Ok(Some(EarlierPatches { last: last.clone(), condition, is_signed, before }))
    }

    fn previous(&self, next: &NextRevision) -> Result<Option<PreviousPatch>, SourceFailure> {
        let path = next.previous.as_ref().map(|previous| self.work.at(&previous.record.path));
        Ok(path.map(|path| PreviousPatch::read(&path)).transpose()?)
    }

    fn patch_request(&self, job: &SourceJob<'_>, id: &PatchId) -> BuildRequest {
        let mut request = (self.request.patch)(id.clone());
        let requires = request.lists.requires.iter().chain(job.requires.iter());
        request.lists.requires = requires.cloned().collect();
        request
    }

    fn key(&self, job: &SourceJob<'_>, id: &PatchId, previous: Option<&EarlierRevision>) -> String {
        let (request, packages) = (self.patch_request(job, id), job.packages);
        let mut lines = KeyLines::of(&request, self.request.form, self.against);
        lines.add_inputs("release", packages.digests(self.files, ReleaseSide::From));
        lines.add_inputs("stable", packages.digests(self.files, ReleaseSide::To));
        lines.key(previous.map(|previous| previous.manifest.as_str()))
    }

    fn open_both(&self, job: &SourceJob<'_>) -> Result<(Release, Release), SourceFailure> {
        if self.request.cores < 2 {
            return Ok((self.open(job, ReleaseSide::From)?, self.open(job, ReleaseSide::To)?));
        }
        std::thread::scope(|scope| {
            let to = scope.spawn(|| self.open(job, ReleaseSide::To));
            let from = self.open(job, ReleaseSide::From);
            match to.join() {
                Ok(to) => Ok((from?, to?)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn open(&self, job: &SourceJob<'_>, side: ReleaseSide) -> Result<Release, SourceFailure> {
        let files = job.packages.files.iter().filter_map(|at| self.files.get(*at));
        let files = files.filter(|file| file.side == side);
        let entries: Vec<PathBuf> = files.map(|file| file.path.clone()).collect();
        let directory = if side == ReleaseSide::From { self.request.release } else { self.request.stable };
        let name = format!("{} of {}", job.name, directory.display());
        let is_its_own = |package: &ReleasePackage| package.source.as_deref() == Some(job.name);
        let opened = open_packages(&name, &entries, self.cores, &is_its_own);
        opened.map_err(|error| SourceFailure::Release(error.into()))
    }

    /// Checks that digests are still those of the key.
    fn must_be_unchanged(&self, packages: &SourcePackages) -> Result<(), SourceFailure> {
        for file in packages.files.iter().filter_map(|at| self.files.get(*at)) {
            let Ok(content) = &file.content else { continue };
            let failed = |error| ReleaseError { path: file.path.clone(), problem: ReleaseProblem::Io(error) };
            let is_still = content.digest.is_still(&file.path);
            if !is_still.map_err(|error| SourceFailure::Release(failed(error).into()))? {
                return Err(SourceFailure::Changed(file.path.clone()));
            }
        }
        Ok(())
    }
}

impl SourceJob<'_> {
    fn alone(&mut self) -> SourceEnd {
        let only = |side| self.packages.unpaired.iter().all(|one| one.side == side);
        let (end, reason) = match () {
            () if only(ReleaseSide::To) => (SourceEnd::New, "no package of it was released"),
            () if only(ReleaseSide::From) => (SourceEnd::Gone, "no package of it is maintained"),
            () => (SourceEnd::Gone, "its maintained packages are not the released ones"),
        };
        reason.clone_into(&mut self.outcome.reason);
        end
    }

    fn unchanged(&mut self, reason: &str) -> SourceEnd {
        self.outcome = SourceOutcome::new(self.name, SourceEnd::Unchanged, reason);
        self.outcome.siblings_unchanged = self.names(|_| true);
        SourceEnd::Unchanged
    }

    fn kept(&mut self, last: &BuiltRecord, work: &WorkDirectory) {
        "it was built from the current packages".clone_into(&mut self.outcome.reason);
        self.outcome.id = Some(last.id.clone());
        self.outcome.key = Some(last.key.clone());
        self.outcome.path = Some(work.at(&last.path));
        self.outcome.log = Some(work.at(&format!("logs/{}.log", last.id)));
        self.outcome.packages = self.names(|is_same| !is_same);
        self.outcome.siblings_unchanged = self.names(|is_same| is_same);
        self.outcome.sha256 = Some(last.sha256.clone());
        self.outcome.news.clone_from(&last.news);
    }

    fn built(&mut self, draft: &PatchDraft<'_>, next: &NextRevision, key: String) {
        let packed: BTreeSet<(&str, &str)> = draft
            .packages
            .iter()
            .filter_map(|drafted| Some((drafted.new.name.as_deref()?, drafted.new.arch.as_deref()?)))
            .collect();
        let is_packed = |(name, arch): &(String, String)| packed.contains(&(name.as_str(), arch.as_str()));
        let pairs = self.packages.pairs.keys();
        let (packages, unchanged): (Vec<_>, Vec<_>) = pairs.partition(|pair| is_packed(pair));
        self.outcome.packages = packages.into_iter().map(|pair| self.shown(pair)).collect();
        self.outcome.siblings_unchanged = unchanged.into_iter().map(|pair| self.shown(pair)).collect();
        self.outcome.id = Some(next.id.to_string());
        self.outcome.key = Some(key);
        self.outcome.scripts_left_out.clone_from(&draft.scripts_left_out);
        self.outcome.reason = match (next.replaces, &next.previous) {
            (Some(reason), _) => format!("made again: {} {reason}", next.id),
            (None, Some(_)) if self.packages.is_same() => {
                "no difference is left: the patch restores the release".to_owned()
            }
            _ => format!("{} of {} packages differ", packed.len(), self.packages.pairs.len()),
        };
    }

    fn names(&self, wanted: impl Fn(bool) -> bool) -> Vec<String> {
        let pairs = self.packages.pairs.iter().filter(|(_, is_same)| wanted(**is_same));
        pairs.map(|(pair, _)| self.shown(pair)).collect()
    }

    /// Adds the architecture if several packages have this name.
    fn shown(&self, (name, arch): &(String, String)) -> String {
        let from = self.packages.pairs.range((name.clone(), String::new())..);
        let same = from.take_while(|((other, _), _)| other == name).take(2).count();
        if same > 1 { format!("{name}:{arch}") } else { name.clone() }
    }
}

/// Increase this if a change produces other bytes from the same inputs.
const TOOL_FORMAT: u32 = 1;

#[derive(Clone, Debug, Default)]
pub(super) struct KeyLines(Vec<u8>);

impl KeyLines {
    /// Starts with all options except the date. `against` are digests of other patches.
    pub(super) fn of(request: &BuildRequest, form: PatchForm, against: &[String]) -> Self {
        let mut lines = Self::default();
        lines.add("tool", TOOL_FORMAT);
        lines.add("id", &request.id);
        lines.add("format", form.word());
        lines.of_packages(request);
        lines.of_objects(request);
        lines.of_patch(request);
        lines.add_all("against", against);
        lines
    }

    fn of_packages(&mut self, request: &BuildRequest) {
        let naming = &request.naming;
        self.add_all("pkg-map", naming.pkg_map.iter().map(|(name, pkg)| format!("{name} {pkg}")));
        self.add_all("pkg", naming.pkg.iter());
        self.add_all("arch", naming.arch.iter());
        self.add_all("base-version", naming.base_version.iter());
        self.add("basedir", &request.basedir);
    }

    fn of_objects(&mut self, request: &BuildRequest) {
        let choices = &request.choices;
        for (name, globs) in
            [("exclude", &choices.exclude), ("editable", &choices.editable), ("volatile", &choices.volatile)]
        {
            self.add_all(name, globs.iter().map(|glob| glob.as_str().to_owned()));
        }
        self.add_all(
            "class",
            choices.classes.iter().map(|(glob, class)| format!("{}={class}", glob.as_str())),
        );
        self.add_all("owner", choices.owner.iter().map(|(user, group)| format!("{user}:{group}")));
        self.add("mtimes", request.compare.mtimes);
        let digests: BTreeMap<_, _> =
            request.class_scripts.iter().map(|(name, text)| (name, sha256_text(&sha256(text)))).collect();
        self.add_all("class-script", digests.iter().map(|(name, digest)| format!("{name} {digest}")));
    }

    fn of_patch(&mut self, request: &BuildRequest) {
        let lists = &request.lists;
        self.add("requires", lists.requires.joined(" "));
        self.add("obsoletes", &lists.obsoletes);
        self.add("incompat", &lists.incompatibles);
        self.add_all("fixes", &lists.fixes);
        self.add_all("fixed-in", request.fixed_in.iter());
        self.add_all("property", &request.properties);
        self.add_all("synopsis", request.readme.synopsis.iter());
        self.add_all("keyword", &request.readme.keywords);
        self.add_all("bug", &request.readme.bugs);
        self.add("scripts", request.with_scripts);
        self.add_all("restricted", request.restricted.iter());
        self.add("allow-abi-break", request.allow_abi_break);
    }

    pub(super) fn add_inputs(&mut self, name: &str, digests: impl IntoIterator<Item = String>) {
        let mut digests: Vec<String> = digests.into_iter().collect();
        digests.sort();
        self.add_all(name, digests);
    }

    pub(super) fn key(mut self, previous: Option<&str>) -> String {
        self.add("previous", previous.unwrap_or("none"));
        sha256_text(&sha256(&self.0))
    }

    fn add_all(&mut self, name: &str, values: impl IntoIterator<Item = impl Display>) {
        for value in values {
            self.add(name, value);
        }
    }

    fn add(&mut self, name: &str, value: impl Display) {
        // A value of several lines must not look like two values.
        let value = value.to_string().replace('\\', "\\\\").replace('\n', "\\n");
        self.0.extend_from_slice(format!("{name}={value}\n").as_bytes());
    }
}

fn log_beginning(source: &str, date: i64, packages: &SourcePackages, files: &[InputEntry]) -> String {
    let moment = DateTime::from_timestamp(date, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ");
    let mut text = format!("{moment} source {source}\n");
    for file in packages.files.iter().filter_map(|at| files.get(*at)) {
        let side = if file.side == ReleaseSide::From { "release" } else { "stable" };
        let digest = file.content.as_ref().map_or("-", |content| &content.digest.sha256);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{side} {digest} {}", file.path.display());
    }
    text
}

fn log_of_draft(draft: &PatchDraft<'_>) -> String {
    let mut text = String::new();
    for drafted in &draft.packages {
        let (sparse, counts) = (&drafted.sparse, drafted.sparse.counts());
        let _ = writeln!(
            text,
            "package {} {} {}: {} added, {} replaced, {} deleted, {} with changed attributes",
            sparse.pkg,
            sparse.version,
            sparse.arch,
            counts.added,
            counts.replaced,
            counts.deleted,
            counts.attributes
        );
    }
    for unpaired in &draft.unpaired {
        let side = if unpaired.side == ReleaseSide::From { "release" } else { "stable" };
        let _ = writeln!(text, "only in {side}: {} {}", unpaired.name, unpaired.arch);
    }
    for script in &draft.scripts_left_out {
        let _ = writeln!(text, "left out: script {script}");
    }
    for finding in &draft.findings {
        let _ = match finding {
            BuildFinding::Abi(finding) => writeln!(text, "{}: {finding}", finding.code()),
            BuildFinding::SameTime(finding) => writeln!(text, "same-time: {finding}"),
            BuildFinding::ManyDeletions(finding) => writeln!(text, "deletions: {finding}"),
            BuildFinding::SideFiles(finding) => writeln!(text, "side-files: {finding}"),
        };
    }
    text
}

fn log_end(outcome: &SourceOutcome) -> String {
    let id = outcome.id.as_deref().unwrap_or("-");
    let mut text = format!("{} {id}: {}\n", outcome.end.word(), outcome.reason);
    for (what, names) in [("packed", &outcome.packages), ("unchanged siblings", &outcome.siblings_unchanged)]
    {
        if !names.is_empty() {
            let _ = writeln!(text, "{what}: {}", names.join(" "));
        }
    }
    if let Some(key) = &outcome.key {
        let _ = writeln!(text, "key {key}");
    }
    text
}

struct EarlierPatches {
    last: BuiltRecord,
    condition: PatchCondition,
    is_signed: bool,
    before: Option<EarlierRevision>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct EarlierRevision {
    record: BuiltRecord,
    manifest: String,
}

#[derive(Debug, PartialEq, Eq)]
enum RevisionChoice {
    Keep,
    Make(Box<NextRevision>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NextRevision {
    id: PatchId,
    previous: Option<EarlierRevision>,
    replaces: Option<&'static str>,
}

impl NextRevision {
    fn made(self) -> RevisionChoice {
        RevisionChoice::Make(Box::new(self))
    }
}

/// `key` computes the key of a patch with this id that contains this revision.
fn choose(
    base: &str,
    earlier: Option<&EarlierPatches>,
    rebuild: bool,
    key: &dyn Fn(&PatchId, Option<&EarlierRevision>) -> String,
) -> Result<RevisionChoice, SourceFailure> {
    let Some(EarlierPatches { last, condition, is_signed, before }) = earlier else {
        let id = PatchId::new(&format!("{base}-01"))?;
        return Ok(NextRevision { id, previous: None, replaces: None }.made());
    };
    let id = PatchId::new(&last.id)?;
    let again = |reason| NextRevision { id: id.clone(), previous: before.clone(), replaces: Some(reason) };
    let manifest = match condition {
        PatchCondition::AsBuilt(_) if rebuild && !is_signed => {
            return Ok(again("as requested with --rebuild").made());
        }
        PatchCondition::AsBuilt(manifest) => manifest.clone(),
        // It is unsigned, so make it again from the present inputs.
        PatchCondition::NotAsBuilt(fault) if !is_signed => return Ok(again(fault).made()),
        PatchCondition::NotAsBuilt(fault) => {
            return Err(SourceFailure::NotAsBuilt { path: last.path.clone().into(), fault });
        }
    };
    if key(&id, before.as_ref()) == last.key {
        return Ok(RevisionChoice::Keep);
    }
    let previous = Some(EarlierRevision { record: last.clone(), manifest });
    Ok(NextRevision { id: after(&id)?, previous, replaces: None }.made())
}

fn after(id: &PatchId) -> Result<PatchId, SourceFailure> {
    let number = id.revision().parse::<u64>().ok().and_then(|number| number.checked_add(1));
    let number = number.ok_or_else(|| SourceFailure::LastRevision(id.clone()))?;
    Ok(PatchId::new(&format!("{}-{number:02}", id.base()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, key: &str) -> BuiltRecord {
        BuiltRecord {
            source: "curl".to_owned(),
            id: id.to_owned(),
            key: key.to_owned(),
            path: format!("patches/{id}.tar.gz"),
            sha256: "cd".repeat(32),
            news: None,
        }
    }

    fn as_built() -> PatchCondition {
        PatchCondition::AsBuilt("m".to_owned())
    }

    /// Returns the choice for inputs with the key `now`.
    fn told(earlier: Option<&EarlierPatches>, rebuild: bool) -> String {
        let key = |_: &PatchId, _: Option<&EarlierRevision>| "now".to_owned();
        match choose("curl", earlier, rebuild, &key) {
            Ok(RevisionChoice::Keep) => "keep".to_owned(),
            Ok(RevisionChoice::Make(next)) => {
                let NextRevision { id, previous, replaces } = *next;
                let previous = previous.map(|one| format!(" with {}", one.record.id)).unwrap_or_default();
                let replaces = replaces.map(|reason| format!(" replaced: {reason}")).unwrap_or_default();
                format!("make {id}{previous}{replaces}")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_patch_of_what_lies_there_is_kept_and_another_one_is_followed() {
        assert_eq!(told(None, false), "make curl-01");
        let earlier = |key, condition, is_signed| EarlierPatches {
            last: record("curl-09", key),
            condition,
            is_signed,
            before: Some(EarlierRevision { record: record("curl-08", "old"), manifest: "m".to_owned() }),
        };
        assert_eq!(told(Some(&earlier("now", as_built(), false)), false), "keep");
        assert_eq!(told(Some(&earlier("then", as_built(), false)), false), "make curl-10 with curl-09");
    }

    #[test]
    fn the_highest_patch_is_replaced_only_if_nobody_has_signed_it() {
        let earlier = |key, condition, is_signed| EarlierPatches {
            last: record("curl-01", key),
            condition,
            is_signed,
            before: None,
        };
        let gone = || PatchCondition::NotAsBuilt("is not there");
        assert_eq!(
            told(Some(&earlier("now", as_built(), false)), true),
            "make curl-01 replaced: as requested with --rebuild"
        );
        assert_eq!(told(Some(&earlier("now", as_built(), true)), true), "keep");
        assert_eq!(told(Some(&earlier("then", as_built(), true)), true), "make curl-02 with curl-01");
        assert_eq!(told(Some(&earlier("now", gone(), false)), false), "make curl-01 replaced: is not there");
        let said = told(Some(&earlier("now", gone(), true)), false);
        assert!(said.starts_with("patches/curl-01.tar.gz is not there, "), "{said}");
    }

    #[test]
    fn revisions_have_two_digits_and_an_end() {
        let next = |id: &str| after(&PatchId::new(id).unwrap()).map(|id| id.to_string());
        assert_eq!(next("a-01").unwrap(), "a-02");
        assert_eq!(next("a-99").unwrap(), "a-100");
        assert!(next("a-18446744073709551615").is_err());
    }
}
