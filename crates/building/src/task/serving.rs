//! The process of a task: it gets its order on standard input, and tells on standard output how it goes on.

use std::io::{self, BufRead as _, Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::building::build;
use super::failed::{FailedBuild, forget, is_worth_keeping, keep};
use super::inputs::TaskInputs;
use super::order::{LARGEST_ORDER, TASK_FORMAT, TaskEnd, TaskEvent, TaskOrder};
use super::place::TaskPlace;
use super::step::TaskError;
use super::teller::TaskTeller;
use crate::base::{base_layer, build_user};
use crate::driver::Driver;
use crate::ids::SandboxIds;
use crate::pool::{FoundResult, Pool, PoolEntry};
use crate::space::is_full;
use crate::work::Work;

/// How long a task that found no space stays after it has made room, so that nothing is tried again before those beside it have
/// made some, too; and which part of the time that a run waits for room.
const AFTER_ROOM: Duration = Duration::from_secs(1);
const PART_OF_WAIT: u32 = 30;

/// Carries out one task: its order is the first line of `input`, events go to `output`. Once `input` ends, the task ends.
pub fn serve_task(
    input: impl io::Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> io::Result<()> {
    let mut input = io::BufReader::new(input);
    let mut line = Vec::new();
    input.by_ref().take(LARGEST_ORDER as u64 + 1).read_until(b'\n', &mut line)?;
    let order = match serde_json::from_slice::<TaskOrder>(&line) {
        Ok(order) if order.task == TASK_FORMAT => Ok(order),
        Ok(order) => Err(format!("the order has format {}", order.task)),
        Err(error) => Err(format!("the order cannot be read: {error}")),
    };
    // Before there is a second thread: a process with two stays under the ids that it has.
    let opened = order.as_ref().map_err(Clone::clone).and_then(open);
    let is_ended = Arc::new(AtomicBool::new(false));
    let ends = is_ended.clone();
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(input.read(&mut rest), Ok(read) if read > 0) {}
        ends.store(true, Ordering::Relaxed);
    });
    let teller = TaskTeller::over(Box::new(output), is_ended);
    let build_dir = opened.as_ref().ok().map(|(work, ..)| work.conf.build_dir.clone());
    let mut end = match (&order, opened) {
        (Ok(order), opened) => {
            teller.tell(&TaskEvent::Started { host: host_name(), pid: std::process::id() });
            let between = opened.as_ref().map(|(work, ..)| work.conf.between_signs_of(&order.slot));
            let goes_on = teller.go_on(between.unwrap_or(AFTER_ROOM));
            let end = opened.and_then(|opened| carry_out(order, opened, &teller));
            drop(goes_on);
            end.unwrap_or_else(TaskEnd::trouble)
        }
        (Err(reason), _) => TaskEnd::trouble(reason.clone()),
    };
    // Whatever could not be made there: it is for want of space.
    end.lacks_room |= end.trouble.is_some() && build_dir.is_some_and(|build_dir| is_full(&build_dir));
    teller.tell(&TaskEvent::End(end));
    Ok(())
}

/// Opens the bulk build of an order, and gives this process the ids of its sandboxes.
fn open(order: &TaskOrder) -> Result<(Work, Driver, SandboxIds), String> {
    let work = Work::open(&PathBuf::from(&order.work)).map_err(|error| error.to_string())?;
    let driver = Driver::find(&work).map_err(|error| error.to_string())?;
    let ids = SandboxIds::of_task(&work.conf)?;
    Ok((work, driver, ids))
}

/// Carries out an order; an error is the machine's.
fn carry_out(
    order: &TaskOrder,
    (work, driver, ids): (Work, Driver, SandboxIds),
    teller: &TaskTeller,
) -> Result<TaskEnd, String> {
    let shown = |error: &dyn std::error::Error| error.to_string();
    let pool = Pool::open(&work.conf.pool).map_err(|error| shown(&error))?;
    let user = build_user(&work.conf);
    let base = base_layer(&work.conf, (ids, user), &order.base).map_err(|error| shown(&error))?;
    let mut install: Vec<PoolEntry> = Vec::new();
    for (package, key) in &order.install {
        match pool.find(key).map_err(|error| shown(&error))? {
            FoundResult::Result(entry) => install.push(*entry),
            FoundResult::Nothing => return Err(format!("the result of {package} is not in the pool")),
            FoundResult::Damaged(reason) => return Err(reason),
        }
    }
    let place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(|error| shown(&error))?;
    let inputs = TaskInputs {
        order,
        work: &work,
        driver: &driver,
        pool: &pool,
        base: &base,
        user,
        install: &install,
        place: &place,
    };
    let end = build(&inputs, teller);
    let is_full = matches!(end, Err(TaskError::FullBuildDir(_)));
    let kept = &work.conf;
    let at = (kept.build_dir.as_path(), work.id.as_str());
    match &end {
        Ok(TaskEnd { failure: Some(failure), .. }) if kept.keep_failed > 0 && is_worth_keeping(failure) => {
            let build = FailedBuild { order: order.clone(), failure: failure.clone() };
            keep(place, at, &build, kept.keep_failed).map_err(|error| shown(&error))?;
        }
        _ => {
            // What has failed by the machine's fault may be in any state.
            let left = if order.is_local && end.is_ok() {
                place.leave(&kept.build_dir, &work.id)
            } else {
                place.remove().map_err(Into::into)
            };
            left.map_err(|error| shown(&error))?;
            if kept.keep_failed > 0 && matches!(end, Ok(TaskEnd { failure: None, .. })) {
                forget(at, &order.package).map_err(|error| shown(&error))?;
            }
        }
    }
    if is_full {
        let part = kept.patience.for_room.map_or(AFTER_ROOM, |wait| wait / PART_OF_WAIT);
        std::thread::sleep(part.min(AFTER_ROOM));
    }
    Ok(end.unwrap_or_else(|error| {
        let is_full = matches!(error, TaskError::Full(_));
        let lacks_room = matches!(error, TaskError::FullBuildDir(_));
        TaskEnd { is_full, lacks_room, ..TaskEnd::trouble(error.to_string()) }
    }))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
