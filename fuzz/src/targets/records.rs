//! What the program writes for itself: the files that it recovers and backs out from.

use patchadm_changeset::format::installf_queue::InstallfRequests;
use patchadm_changeset::format::journal;
use patchadm_changeset::format::journal::{HEAD, Journal, JournalEntry, JournalHeader, SECTOR, checked_line};
use patchadm_changeset::format::manifest::{UndoManifest, decode, encode};
use patchadm_inputs::database::history;
use patchadm_inputs::depot::{DepotFlags, DepotIndex, SeenDepots};
use patchadm_inputs::format::plan_differences::PlanDifferences;
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_inputs::format::undo_export::{ExportError, ExportTable, ExportWriter, read_export};
use patchadm_inputs::http::Address;
use patchadm_inputs::stage::{
    Base, BaseObjects, PromotionRecord, StageCache, StageIdentity, StagesRecord, write_base,
};
use patchadm_inputs::trial::TrialRecord;
use patchadm_planning::fleet::{
    Fleet, FleetChanges, FleetReport, InventoryReader, NamedInventory, PastReport,
};
use patchadm_rootfs::Digest;
use patchadm_svr4::patch::PatchId;

/// Bytes as they stand on a disk. Nearly all of them fail a checksum; [`journal_lines`] goes behind those.
pub fn journal(input: &[u8]) {
    let _ = journal::parse_head(input);
    let _ = Journal::parse_leading(input);
    if let Ok(read) = Journal::parse(input, Some(b"")) {
        rewritten(&read);
    }
}

/// The input is what stands in the lines: it gets the checksums, the digest and the header of a real journal, beside which
/// nothing is in the second file.
pub fn journal_lines(input: &[u8]) {
    let values = input.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let values: Vec<serde_json::Value> = values.map_while(|line| serde_json::from_slice(line).ok()).collect();
    let lines: Vec<u8> = values.iter().flat_map(checked_line).collect();
    let header = JournalHeader {
        version: journal::VERSION,
        run: "7-00000000000000aa".to_owned(),
        command: "patchadd".to_owned(),
        root: "00112233445566ff".to_owned(),
        lines: lines.len() as u64,
        b3: Digest::of(&lines).to_string(),
        db: lines.len() as u64,
        ops_b3: Digest::of(b"").to_string(),
        ..JournalHeader::default()
    };
    let mut bytes = checked_line(&header);
    bytes.resize(SECTOR, b' ');
    bytes.resize(HEAD, b' ');
    bytes.extend_from_slice(&lines);
    let whole = Journal::parse(&bytes, Some(b""));
    let leading = Journal::parse_leading(&bytes).map(|leading| Journal { is_whole: true, ..leading });
    assert_eq!(leading, whole, "all of it is leading");
    if let Ok(whole) = whole {
        rewritten(&whole);
    }
    for cut in [HEAD - 1, bytes.len().saturating_sub(1)] {
        assert!(lines.is_empty() && cut >= HEAD || Journal::parse(&bytes[..cut], Some(b"")).is_err());
    }
}

/// Writes a journal that was read, and reads and writes it once more: nothing changes any longer.
fn rewritten(journal: &Journal) {
    let entries = |journal: &Journal| {
        let mut entries: Vec<JournalEntry> =
            journal.domains.iter().cloned().map(JournalEntry::Domain).collect();
        entries.extend(journal.archives.iter().cloned().map(Box::new).map(JournalEntry::Archive));
        entries.push(JournalEntry::RunRecord(Box::new(journal.run_record.clone())));
        entries.extend(journal.ops.iter().cloned().map(|op| JournalEntry::Op(Box::new(op))));
        entries
    };
    let written = Journal::to_files(journal.head.header.clone(), entries(journal)).expect("memory takes it");
    let again = Journal::parse(&written.journal, Some(&written.ops)).expect("what was written can be read");
    assert_eq!(
        (&again.domains, &again.archives, &again.run_record),
        (&journal.domains, &journal.archives, &journal.run_record)
    );
    assert_eq!(again.ops.len(), journal.ops.len());
    let same = Journal::to_files(again.head.header.clone(), entries(&again)).expect("memory takes it");
    assert_eq!(same, written);
}

pub fn undo_manifest(input: &[u8]) {
    assert_eq!(decode(&encode(input)), input);
    let Ok(manifest) = UndoManifest::parse(input) else { return };
    for state in manifest.objects.iter().filter_map(|object| object.was.as_ref()) {
        let _ = (state.digest(), state.xattrs());
    }
    let written = manifest.to_bytes();
    assert_eq!(UndoManifest::parse(&written), Ok(manifest), "{}", written.escape_ascii());
}

pub fn history(input: &[u8]) {
    let Ok(entries) = history::parse(input) else { return };
    let written: Vec<u8> = entries.iter().flat_map(history::HistoryEntry::line).collect();
    assert_eq!(history::parse(&written), Ok(entries));
}

pub fn depot_index(input: &[u8]) {
    let Ok(index) = DepotIndex::parse(input) else { return };
    assert_eq!(DepotIndex::parse(&index.write()).unwrap(), index);
}

pub fn plan_file(input: &[u8]) {
    let Ok(plan) = PlanFile::parse(input) else { return };
    let text = plan.text().unwrap();
    assert_eq!(PlanFile::parse(&text).unwrap(), plan);
    assert_eq!(PlanDifferences::between(&plan, &plan), None);
}

/// What a host says of itself: read again it is the same, and no host has and lacks one patch.
pub fn inventory(input: &[u8]) {
    let mut reader = InventoryReader::default();
    let Ok(read) = reader.read(input, "host") else { return };
    let again = reader.read(input, "host").unwrap();
    assert_eq!(again.inventories.len(), read.inventories.len());
    let named = |inventory| NamedInventory { source: "file".to_owned(), inventory };
    let fleet = Fleet::of(read.inventories.into_iter().map(named));
    let Ok(report) = FleetReport::of(&fleet.hosts, None) else { return };
    for standing in &report.standings {
        assert!(standing.lacks.iter().all(|place| !standing.applied.contains(place)));
    }
    assert!(FleetChanges::since(&PastReport::default(), &report).common == 0);
}

/// A report that was made before.
pub fn past_report(input: &[u8]) {
    let Ok(past) = PastReport::parse(input) else { return };
    let changes = FleetChanges::since(&past, &FleetReport::of(&[], None).unwrap());
    assert_eq!(changes.gone_hosts.len(), past.hosts.len());
}

pub fn undo_export(input: &[u8]) {
    let all = |table: &ExportTable| Ok::<_, ExportError>(vec![true; table.archives.len()]);
    let Ok((table, found)) = read_export(std::io::Cursor::new(input), all) else { return };
    assert_eq!(table.archives.len(), found.len());
    let mut writer = ExportWriter::begin(Vec::new(), &table).unwrap();
    for (archive, found) in table.archives.iter().zip(found) {
        let found = found.unwrap();
        let from = usize::try_from(found.from).unwrap();
        let (b3, size) = archive.line.archive().unwrap();
        let content = &input[from..from + usize::try_from(size).unwrap()];
        assert_eq!(found.b3, Digest::of(content));
        // Only what the line names is written.
        assert_eq!(writer.add(archive, content).is_ok(), found.b3 == b3);
    }
}

pub fn seen_depots(input: &[u8]) {
    let Ok(seen) = SeenDepots::parse(input) else { return };
    assert_eq!(SeenDepots::parse(&seen.write()), Ok(seen));
}

pub fn depot_flags(input: &[u8]) {
    let Ok(flags) = DepotFlags::parse(input) else { return };
    for line in input.split(|&byte| byte == b'\n').filter_map(|line| str::from_utf8(line).ok()) {
        let Ok(id) = PatchId::new(line.split_whitespace().next().unwrap_or_default()) else { continue };
        assert!(flags.of(&id).len() <= 3, "{id}");
    }
}

pub fn address(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (base, relative) = text.split_once(' ').unwrap_or((text, "../x y"));
    let Ok(address) = Address::parse(base) else { return };
    assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
    assert!(!address.host().contains('@'), "{address}");
    if let Ok(redirected) = address.redirected(relative) {
        assert_eq!(Address::parse(&redirected.to_string()), Ok(redirected));
    }
}

pub fn queue(input: &[u8]) {
    let Ok(queue) = InstallfRequests::parse(input) else { return };
    let _ = (queue.paths(), queue.finishing());
    let written = InstallfRequests::lines(&queue.0);
    assert_eq!(InstallfRequests::parse(&written), Ok(queue), "{}", written.escape_ascii());
}

pub fn stage_identity(input: &[u8]) {
    let Ok(identity) = StageIdentity::parse(input) else { return };
    assert_eq!(StageIdentity::parse(&identity.write()), Ok(identity));
}

pub fn stage_list(input: &[u8]) {
    let Ok(stages) = StagesRecord::parse(input) else { return };
    assert_eq!(StagesRecord::parse(&stages.write()), Ok(stages));
}

pub fn promotion(input: &[u8]) {
    let Ok(record) = PromotionRecord::parse(input) else { return };
    assert_eq!(PromotionRecord::parse(&record.write()), Ok(record));
}

pub fn trial(input: &[u8]) {
    let Ok(record) = TrialRecord::parse(input) else { return };
    assert_eq!(TrialRecord::parse(&record.write()), Ok(record));
}

pub fn base(input: &[u8]) {
    let Ok(base) = Base::read(&mut &*input) else { return };
    let mut written = Vec::new();
    let objects = BaseObjects::new(base.objects.clone());
    write_base(&mut written, &base.header, &objects).expect("memory takes every byte");
    assert_eq!(Base::read(&mut &*written).expect("what was written is read"), base);
}

pub fn stage_cache(input: &[u8]) {
    let cache = StageCache::parse(input);
    assert_eq!(StageCache::parse(&cache.write()), cache);
}
