//! The areas of what is in the program's own directory, `var/sadm/patchadm`.

use super::report::SpaceArea;
use patchadm_changeset::format::undo_files::UNDO;

/// Returns the area of an object in the program's own directory. A name that is not known here is [`SpaceArea::Other`].
pub(super) fn area_of(name: &[u8]) -> SpaceArea {
    match name {
        b"ledger" => SpaceArea::Ledgers,
        b"stage" => SpaceArea::Runs,
        UNDO => SpaceArea::Undo,
        b"history" | b"attempts" => SpaceArea::History,
        b"log" => SpaceArea::Logs,
        _ => SpaceArea::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::places;

    #[test]
    fn the_places_of_records_have_their_areas() {
        for (place, area) in [
            (places::ledgers(), SpaceArea::Ledgers),
            (places::stages(), SpaceArea::Runs),
            (places::history(), SpaceArea::History),
            (places::attempts(), SpaceArea::History),
            (places::root_id(), SpaceArea::Other),
        ] {
            assert_eq!(area_of(place.name()), area, "{place}");
        }
    }
}
