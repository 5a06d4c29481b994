//! `patchadm remove`: back patches out.

use super::change::{backout, change};
use super::options::{ChangeOptions, ExchangeOptions, UndoDirOption, VerbOptions};
use crate::patch_command::PatchRequest;
use patchadm_cli::arguments::duration::PointInTime;
use patchadm_cli::arguments::{SELECTING, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_cli::surroundings::Zone;
use patchadm_core::operation::patches::back_out::BackOutRequest;

const USAGE: &str = "patchadm [-R root] remove [option...] id...\npatchadm [-R root] remove --down-to point [option...]\n\
     patchadm remove [option...] --roots file id...";

/// Remove (back out) patches
#[derive(clap::Parser)]
struct RemoveArgs {
    #[command(flatten)]
    changing: ChangeOptions,
    #[command(flatten)]
    undo_dir: UndoDirOption,
    /// Also remove patches that require the named ones
    #[arg(long)]
    with_dependents: bool,
    /// Remove all patches that were applied after POINT: a patch (105181-05), a day (2026-11-27; patches of that day
    /// are kept), a time ('2026-11-27 06:52' or RFC 3339), or the number or name of a run (7)
    #[arg(long, value_name = "POINT")]
    down_to: Option<String>,
    /// Remove all patches in one transaction, or change nothing
    #[arg(long)]
    all_or_nothing: bool,
    /// Also remove superseded and obsoleted patches
    #[arg(long, help_heading = SELECTING)]
    force: bool,
    /// First update the registrations of adopted packages, as `adopt --refresh` does
    #[arg(long, help_heading = SELECTING)]
    refresh: bool,
    #[command(flatten)]
    exchange: ExchangeOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The ids of the patches
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let RemoveArgs {
        mut changing,
        undo_dir,
        with_dependents,
        down_to,
        all_or_nothing,
        force,
        refresh,
        exchange,
        common,
        ids,
    } = parse(call, USAGE)?;
    changing.many.also(&common.root);
    let request = BackOutRequest {
        with_dependents,
        down_to: down_to.map(|point| at_end_of_day(point, call.surroundings.zone)),
        all_or_nothing,
        force,
        refresh,
        exchanges: exchange.exchange,
        ..backout(call, &changing, undo_dir.undo_dir, ids)
    };
    change::<RemoveArgs>(call, USAGE, &common.root, &changing, PatchRequest::BackOut(request))
}

/// Returns the last moment of a day or minute, RFC 3339; other points (patches, runs) stay.
fn at_end_of_day(point: String, zone: Zone) -> String {
    match PointInTime::parse(&point) {
        Ok(time) => time.last(zone).map_or(point, |moment| moment.to_rfc3339()),
        Err(_) => point,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_end_and_other_points_stay() {
        let at = |point: &str| at_end_of_day(point.to_owned(), Zone::Utc);
        assert_eq!(at("2026-11-20"), "2026-11-20T23:59:59+00:00");
        assert_eq!(at("2026-11-20T07:00:00+01:00"), "2026-11-20T06:00:00+00:00");
        assert_eq!(at("2026-11-20 07:00"), "2026-11-20T07:00:59+00:00");
        assert_eq!((at("100-01"), at("7")), ("100-01".to_owned(), "7".to_owned()));
    }
}
