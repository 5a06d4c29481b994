//! The processor-dependent settings: the default directories of its loader, and the values of `$LIB` and `$PLATFORM`.

use crate::elf::ElfMachine;

/// Machines by `e_machine`, with the names of their directories on systems that keep several, and their platform.
const MACHINES: [(ElfMachine, &[&str], &str); 13] = [
    (of(62, true), &["x86_64-linux-gnu"], "x86_64"),
    (of(62, false), &["x86_64-linux-gnux32"], "x86_64"),
    (of(3, false), &["i386-linux-gnu"], "i686"),
    (of(183, true), &["aarch64-linux-gnu"], "aarch64"),
    (of(40, false), &["arm-linux-gnueabihf", "arm-linux-gnueabi"], "v7l"),
    (of(21, true), &["powerpc64le-linux-gnu", "powerpc64-linux-gnu"], "power8"),
    (of(20, false), &["powerpc-linux-gnu"], "ppc"),
    (of(22, true), &["s390x-linux-gnu"], "z900"),
    (of(243, true), &["riscv64-linux-gnu"], "riscv64"),
    (of(258, true), &["loongarch64-linux-gnu"], "loongarch64"),
    (of(8, false), &["mipsel-linux-gnu", "mips-linux-gnu"], "mips"),
    (of(8, true), &["mips64el-linux-gnuabi64", "mips64-linux-gnuabi64"], "mips64"),
    (of(43, true), &["sparc64-linux-gnu"], "sparc64"),
];

const fn of(number: u16, is_64: bool) -> ElfMachine {
    ElfMachine { number, is_64 }
}

fn known(machine: ElfMachine) -> Option<&'static (ElfMachine, &'static [&'static str], &'static str)> {
    MACHINES.iter().find(|(known, ..)| *known == machine)
}

fn multiarch(machine: ElfMachine) -> &'static [&'static str] {
    known(machine).map_or(&[], |(_, names, _)| names)
}

/// Returns the directories that are searched by default, in their order.
pub(super) fn default_directories(machine: ElfMachine) -> Vec<String> {
    let names = multiarch(machine);
    let own =
        ["/lib", "/usr/lib"].into_iter().flat_map(|at| names.iter().map(move |name| format!("{at}/{name}")));
    let wide: &[&str] = if machine.is_64 { &["/lib64", "/usr/lib64"] } else { &[] };
    own.chain(wide.iter().chain(&["/lib", "/usr/lib"]).map(|at| (*at).to_owned())).collect()
}

/// Returns the values that `$LIB` may have: the loader was built with one of them.
pub(super) fn lib_names(machine: ElfMachine) -> Vec<String> {
    let own = multiarch(machine).iter().map(|name| format!("lib/{name}"));
    let wide = machine.is_64.then(|| "lib64".to_owned());
    own.chain(wide).chain(["lib".to_owned()]).collect()
}

/// Returns the value of `$PLATFORM`.
pub(super) fn platform(machine: ElfMachine) -> Option<&'static str> {
    known(machine).map(|(_, _, platform)| *platform)
}
