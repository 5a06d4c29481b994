//! The integration tests: one module per command, one binary for all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends by a panic
#![allow(clippy::needless_for_each, clippy::format_collect, clippy::format_push_string)] // a test need not be fast
#![allow(clippy::disallowed_methods)] // a test makes its own trees, beside the door

/// Splits a test that takes too long into parts that run side by side: `in_parts!(behavior, play, 3)` makes a module
/// `behavior` of three tests, which call `play(part, parts)`.
macro_rules! in_parts {
    ($name:ident, $play:ident, 2) => {
        in_parts!(@ $name, $play, 2, part_1 0, part_2 1);
    };
    ($name:ident, $play:ident, 3) => {
        in_parts!(@ $name, $play, 3, part_1 0, part_2 1, part_3 2);
    };
    ($name:ident, $play:ident, 4) => {
        in_parts!(@ $name, $play, 4, part_1 0, part_2 1, part_3 2, part_4 3);
    };
    ($name:ident, $play:ident, 5) => {
        in_parts!(@ $name, $play, 5, part_1 0, part_2 1, part_3 2, part_4 3, part_5 4);
    };
    ($name:ident, $play:ident, 6) => {
        in_parts!(@ $name, $play, 6, part_1 0, part_2 1, part_3 2, part_4 3, part_5 4, part_6 5);
    };
    ($name:ident, $play:ident, 12) => {
        in_parts!(@ $name, $play, 12, part_1 0, part_2 1, part_3 2, part_4 3, part_5 4, part_6 5,
            part_7 6, part_8 7, part_9 8, part_10 9, part_11 10, part_12 11);
    };
    ($name:ident, $play:ident, 20) => {
        in_parts!(@ $name, $play, 20, part_1 0, part_2 1, part_3 2, part_4 3, part_5 4, part_6 5,
            part_7 6, part_8 7, part_9 8, part_10 9, part_11 10, part_12 11, part_13 12, part_14 13,
            part_15 14, part_16 15, part_17 16, part_18 17, part_19 18, part_20 19);
    };
    (@ $name:ident, $play:ident, $parts:literal, $($test:ident $part:literal),+) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    super::$play($part, $parts);
                }
            )+
        }
    };
}

/// Commands that are asked to end.
mod acknowledged;
/// Software on disk that becomes a package.
mod adopt;
mod adopt_all;
/// Damaged and lost records of adopted packages.
mod adopt_damaged;
mod adopt_in_run;
mod adopt_refresh;
/// Commands that refusals advise.
mod advice;
/// The collection for Ansible, played on local roots.
mod ansible;
/// The pages about the code.
mod architecture;
/// Roots that are changed as their owners.
mod as_owner;
/// Runs that came to nothing.
mod attempts;
/// The procedure scripts of our backout packages.
mod backout_scripts;
/// Damaged and hostile patches.
mod bad_input;
/// Packages that are damaged: refused by one line, and nothing is changed.
mod bad_packages;
/// The confidence intervals of the benchmark, its page, and its data.
mod benchmark;
/// Statements of the manual pages of the classic tools, in recorded comparisons with ours.
mod beside_classic;
/// Names and changes of type that scripts cannot be told about.
mod beyond_scripts;
/// Recovery at boot.
mod boot;
/// Patches made of two trees, applied and backed out.
mod build;
/// The form of a patch, as given by its name.
mod build_forms;
/// Bulk builds: packages from their sources.
mod bulk;
/// Directories and archives of several patches.
mod bundles;
/// Real releases, installed and compared with the expected trees.
mod cases;
/// The same releases, patched and backed out.
mod cases_patched;
/// The system around a root: the working parts, and the commands that repair the others.
mod check;
/// Files against records, undo archives against their digests.
mod check_contents;
/// The scripts of the checks before a merge.
mod checks;
/// The patches that a backout selects.
mod chosen_backouts;
/// Class action scripts.
mod class_scripts;
/// Programs that call these commands, and their expectations.
mod clients;
/// Programs that install and remove through them.
mod clients_changes;
/// The files of packages and patches in the wild.
mod clients_files;
/// Programs that make packages through them.
mod clients_making;
/// Roots that are read-only, of others, or locked.
mod closed_roots;
/// Trees into which nothing can be renamed from outside.
mod closed_trees;
/// The program as a whole: names, command lines, output streams.
mod command_line;
/// Files that earlier releases left on a disk.
mod compat;
/// Libraries and programs made by the compiler of the machine.
mod compiled;
/// Shell completions.
mod completions;
/// The question before a change, on a terminal.
mod confirmation;
/// Roots of containers, which the superuser changes only if told to.
mod container_roots;
/// Control characters in names and texts.
mod control_characters;
/// Records that are damaged or contradict each other: the commands that report them, and the repairs.
mod damaged_records;
/// The list of objects that a patch delivered.
mod delivered;
/// The patches of a stable branch.
mod delta;
mod demo;
/// Directories of patches indexed in place, and depots checked.
mod depot;
/// The view of a depot for its readers.
mod depots;
/// Sources of packages.
mod devices;
/// Differences from the classic tools, with reasons.
mod differences;
/// Directory entries where the root has a symbolic link to a directory.
mod directories_behind_links;
/// The JSON documents and their fields.
mod documents;
/// Files that an administrator edited.
mod edited;
/// ELF files made by hand.
#[path = "../crates/libraries/src/elf/tests/sample.rs"]
mod elf_sample;
/// The events of runs, in the journal and in syslog.
mod events;
/// Every step that was recorded of the classic tools, played with ours.
mod every_golden;
/// Every kind of change at once.
mod everything;
/// Changes that become visible at once.
mod exchange;
/// The exit codes of verbs, one story for each.
mod exit_codes;
/// Explanations of exit codes by the program.
mod explain;
/// A server with answers set by a test, beside the client that it was made for.
#[path = "../crates/core/src/operation/depots/tests/faulty_server.rs"]
mod faulty_server;
/// Depots on web servers.
mod fetching;
/// Roots of several file systems.
mod file_systems;
/// Fixes in patches, and the patches that brought them.
mod fixes;
/// Fixes as declared by the makers of patches.
mod fixes_made;
/// File systems without room.
mod full_disk;
/// File systems that become full inside a run.
mod full_disk_in_run;
/// Registrations and removals by the classic tools, step by step.
mod goldens_of_installf;
/// The packages of the classic tools, made again.
mod goldens_of_making;
/// Results of the classic tools for packages without scripts.
mod goldens_of_packages;
/// Results of the classic tools for patches, step by step.
mod goldens_of_patches;
/// Output of the classic tools for roots that they made.
mod goldens_of_queries;
/// Results of the classic tools for packages with scripts.
mod goldens_of_scripts;
/// Datastreams of the classic tools and of real vendors.
mod goldens_of_streams;
/// Undo archives that the classic tools made.
mod goldens_of_undo;
/// Parameters that several patches set.
mod handed_down;
/// The help of the classic commands.
mod help;
/// The runs of a root.
mod history;
/// The hooks of apt, dpkg and dnf, on a system without our packages.
mod hooks;
/// Scripts of a patch that are kept in the root until its backout.
mod hooks_by_digest;
/// Depots and servers that are damaged or hostile.
mod hostile_depots;
/// Pipes, endless devices and links in the place of an input.
mod hostile_inputs;
/// The identity of a root, and a journal that is lost.
mod identity;
/// Files that nobody may change.
mod immutable;
/// Objects that no package can have.
mod impossible_objects;
mod installf;
/// installf and removef as a script of a run calls them.
mod installf_in_run;
/// Roots where a tool without recovery died.
mod interrupted_classic_runs;
/// Scripts that ask questions, and the sources of the answers.
mod interviews;
/// Libraries that are kept for programs that need them.
mod kept_libraries;
/// Random updates and backouts, compared with a plain model.
mod kept_model;
/// Three updates, backed out in every order.
mod kept_orders;
/// Reports about libraries that are kept.
mod kept_queries;
/// Kept libraries with a real library and its program.
mod kept_real_case;
/// Keys, and patches that are signed.
mod keys;
/// The class action scripts that `scripts=known` allows.
mod known_scripts;
/// Roots on overlayfs.
mod layers;
/// The environment of scripts and the rights of files, regardless of the caller's habits.
mod least_privilege;
/// The undo archives that the runs of a root made; no other is trusted.
mod ledger;
/// Leftovers of killed commands that make packages and patches.
mod leftovers;
mod links;
/// Faults of patches that are not applied.
mod lint;
/// The lines of `list`, and their order.
mod list;
/// Two writers at once.
mod locked;
/// Real releases, made into patches, applied and backed out.
mod making;
/// A first patch, by its page.
mod making_patches;
/// The manual pages against the program.
mod manual;
/// One verb on many roots.
mod many_roots;
/// Edited files that wait to be merged.
mod merges;
/// Patches that are backed out from under others.
mod middle_backouts;
/// Patches that a machine lacks.
mod missing;
/// Objects that somebody removed by hand.
mod missing_objects;
/// Mounts of a test.
mod mounts;
/// The same patches, applied by the program and by their scripts.
mod native_and_script;
/// Attributes that an administrator gave objects of adopted packages.
mod native_attributes;
/// Damaged and hostile records of dpkg, and hooks with rubbish as input.
mod native_bad_input;
/// Fixes that an upgrade overwrote or contains, in queries and in other patches.
mod native_checks;
/// Packages that dpkg or rpm has several times: for several architectures, or in several versions.
mod native_instances;
/// Locks of dpkg and rpm, and who waits for whom.
mod native_locks;
mod native_model;
/// Queries about files that dpkg owns, and about fixes that an upgrade overwrote.
mod native_queries;
/// Random stories of the real dpkg and rpm.
mod native_real_model;
/// Adopted packages that the real rpm and dnf change.
mod native_real_rpm;
/// Adopted packages that the real dpkg and apt change.
mod native_real_tools;
/// Roots whose packages the real dpkg and rpm install.
mod native_root;
/// Objects of dpkg packages, and commands whose package does not stand for them.
mod native_scope;
mod native_versions;
/// A program that is started while its release goes live.
mod never_without_a_version;
/// Roots that have no package database yet, or half of one.
mod new_roots;
/// nginx, started by a test.
mod nginx;
/// Commands on a root without a package database.
mod no_database;
/// Attributes that a pkgmap cannot give.
mod objects_file;
/// Unusual records that stop no command.
mod odd_records;
/// The builds of both commands of the README.
mod one_build;
/// The options that several verbs have.
mod option_table;
/// Packages and patches, each after its requirements.
mod order;
/// Hard links that cannot be made, and those of symbolic links.
mod other_names;
/// Undo archives that are kept outside the root.
mod outside_archives;
/// The URLs by which scanners know packages.
mod package_urls;
/// The packages of the program itself.
mod packaging;
/// The page of an analysis, in a browser.
mod page;
/// The JSON documents of commands about patches.
mod patch_documents;
/// The scripts that patches of ours carry.
mod patch_scripts;
mod pkgadd;
mod pkgadd_update;
mod pkgadd_update_scripts;
mod pkgchk;
/// Pkgmaps and packages on devices, checked.
mod pkgchk_packages;
/// Objects that `pkgchk -f` repairs, and objects that it leaves alone.
mod pkgchk_repair;
mod pkginfo;
/// Changes that another tool logs beside contents.
mod pkglog;
mod pkgmk;
/// The calls of pkgmk and pkgproto by patch scripts and build tools.
mod pkgmk_calls;
/// Packages that cannot be made.
mod pkgmk_refusals;
mod pkgparam;
mod pkgproto;
mod pkgrm;
mod pkgtrans;
/// Plan files: a command does what its plan says.
mod plan_files;
mod plan_is_run;
/// The lines of text files that a plan would change.
mod plan_texts;
/// Decisions of a root for itself.
mod policy;
/// Packages whose procedure scripts run.
mod procedure_scripts;
/// Limits of the caller's process.
mod process_limits;
/// A workshop where packages are made.
mod producer;
/// The verbs of other programs.
mod programs;
/// Progress of a command, and Ctrl-C during its work.
mod progress;
/// Stages that go live.
mod promote;
/// Real releases that go live from a stage.
mod promote_cases;
/// Promotions that become visible at once.
mod promote_exchange;
mod promote_hooks;
/// Random changes of both trees, compared with the table of the three-way rule.
mod promote_model;
/// Patches of a stage that go live with its promotion.
mod promote_patches;
mod promote_plans;
/// The number of reads of the packages of a root for a plan.
#[cfg(debug_assertions)]
mod promote_reads;
mod promote_refused;
/// Files with several names that go live.
mod promoted_names;
/// Prototypes that others wrote.
mod prototypes;
/// Faults of earlier versions, each reproduced by a script.
mod public_cases;
/// Patches that enter a depot.
mod publish;
/// Patches that enter a depot as directories.
mod publish_directories;
/// Patches that a depot refuses.
mod publish_refusals;
mod puttext;
/// The tour of the README.
mod readme;
/// Packages of a real vendor, with their scripts.
mod real_packages;
/// The package database before a patch and after its backout.
mod records;
/// Every exit code of a refusal by patchadd and patchrm, with its message.
mod refusals;
/// The program broken at every step.
mod reliability;
/// Patches that can be backed out, according to list, show and check.
mod removable;
/// pkgrm runs the scripts of packages.
mod removal_scripts;
/// Scripts of a removal that fail, hang and are killed.
mod removals_that_fail;
mod removef;
/// Undo archives written again in another form.
mod repack;
/// Programs that run files which a patch replaces.
mod running;
/// Commands that can change nothing but their scenario.
mod sandbox;
/// Documents for scanners and auditors.
mod scanners;
/// The stage on which every test plays.
mod scenario;
/// The JSON documents that the suite sees, against `docs/schema`.
mod schema;
/// Package parameters in the environment of scripts.
mod script_environment;
/// Processes that scripts start, and which of them are ended.
mod script_processes;
/// Backouts of patches whose scripts keep the records.
mod scripted_backouts;
/// Patches whose own scripts run.
mod scripted_patches;
/// Procedure scripts and the process that runs them.
mod scripts;
/// The end of procedure scripts, in every way.
mod scripts_ended;
/// Scripts that fail, and the state afterwards.
mod scripts_that_fail;
/// The promises of `SECURITY.md`.
mod security;
mod session_keyrings;
/// Set-id bits, which only known bytes have.
mod set_id;
/// Patches of a depot: chosen, fetched and applied as a set.
mod sets;
/// One operand and several.
mod several_operands;
/// Several patches of one command: one run.
mod several_patches;
/// Patches that have a path in common.
mod shared_paths;
/// The output of show about a patch.
mod show;
/// Changes by a patch, before and after.
mod show_diff;
/// Paths of a root, and the objects of patches.
mod show_paths;
/// Why a patch is here, and why it would be refused.
mod show_why;
/// The meaning of each operand of show.
mod show_words;
mod showrev;
/// Signed patches, verified before they are believed.
mod signatures;
/// The disk space of undo data and records, compared with du(1).
mod space;
/// Directories where packages wait.
mod spool;
/// A login by ssh, to an sshd of the test's own.
mod sshd;
/// A command in a stage, and the removal of one.
mod stage_enter;
/// Directories of a root copied into a stage.
mod stage_new;
/// Packages that came to the root of a stage, or went from it.
mod stage_packages;
/// Changes of the live tree brought into a stage.
mod stage_refresh;
/// Rights of a stage to change its root.
mod stage_rights;
/// Foreign objects in the places of stages.
mod stage_strays;
mod stage_users;
/// The page for users of a jail.
mod staged_builds;
/// Class action scripts for systems that bring none.
mod standard_classes;
/// Everything of a root that an apply or a backout changes.
mod state;
/// The state of a root in a few lines.
mod status;
/// The arrows between the modules of the library.
mod structure;
/// Every record damaged in every way, and every command on it.
mod sweep;
/// The programs and libraries of this machine, as other programs see them.
mod system_libraries;
/// Somebody at a terminal.
mod terminal;
/// Scripts and builds that have no terminal, or one of their own.
mod terminals;
/// Output of patchadd and patchrm.
mod transcripts;
/// Runs on trial.
mod trial;
/// Commands that check a run.
mod trial_checks;
/// Each way in which a trial ends.
mod trial_ends;
/// The timer of a trial.
mod trial_timer;
mod type_changes;
/// Runs that are undone.
mod undo;
/// Undo archives played by patchrm, by its script engine and by pkgadd.
mod undo_archives_played;
/// Undo data: places, states, other tools.
mod undo_data;
/// Undo data that is given up.
mod undo_drop;
/// Undo data that is exported to a file and imported again.
mod undo_export;
/// Old files are kept as they were, and come back themselves.
mod undo_files;
/// Undo data as files that somebody has modified.
mod undo_files_damaged;
/// Random forms of undo data.
mod undo_forms;
/// Undo data that is gone.
mod undo_lost;
/// Undo archives as packages, for other programs.
mod undo_packages;
/// Undo archives as streams, beside the classic ones.
mod undo_streams;
/// Undo archives in Zstandard and xz.
mod undo_zst_xz;
/// Journals that cannot be read.
mod unfinished;
/// Packages in the trees of people who are not root.
mod unprivileged_packages;
/// Patches applied by ordinary users.
mod unprivileged_patches;
/// Records with missing parts, and changes that other tools may make.
mod unseen_damage;
/// Patches that no trusted key vouches for.
mod unvouched;
/// Patches of a depot that a root lacks, applied in one command.
mod update;
mod valpath;
/// The options that each verb has, and those that it refuses.
mod verb_options;
/// Round trips: everything comes back or is refused.
mod way_back;
/// The ways to objects and roots.
mod ways;
/// `contents` after runs, and random stories of packages and patches with common files.
mod whole_contents;
/// The owner of a root that the superuser changes.
mod whose_root;
/// Commands that a script of a run starts.
mod within_run;
/// Commands within real runs.
mod within_scripts;
/// The examples of the rules, line by line.
mod worked_examples;
/// The stage on which scripts are run.
mod workshop;

use patchadm_testing::tools::{has, missing, skipped};
use patchadm_testing::{delivery, everyman, packages, random, tree};
