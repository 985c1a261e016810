//! The machine that a run was on, read from /proc.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_bench_report::result::Machine;

/// Reads the machine; `programs` are the versions of the services. What cannot be read is left empty.
pub fn machine(programs: BTreeMap<String, String>) -> Machine {
    let kernel = read("/proc/sys/kernel/osrelease");
    let name = field(&read("/etc/os-release"), "PRETTY_NAME", '=');
    let name = name.trim_matches('"');
    let system = if name.is_empty() { "unknown system" } else { name };
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name", ':'),
        processors: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
        memory_bytes: memory_bytes(&read("/proc/meminfo")),
        system: format!("{system}, Linux {}", kernel.trim()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        programs,
    }
}

fn read(path: &str) -> String {
    // Another system than Linux has none of these.
    std::fs::read_to_string(Path::new(path)).unwrap_or_default()
}

fn field(text: &str, name: &str, separator: char) -> String {
    let of_line = |line: &str| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(of_line).unwrap_or_default()
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = field(meminfo, "MemTotal", ':');
    let kilobytes = total.strip_suffix("kB").and_then(|number| number.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let cpu = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n";
        assert_eq!(field(cpu, "model name", ':'), "Some CPU @ 2.00GHz");
        assert_eq!(field(cpu, "cache", ':'), "");
        assert_eq!(memory_bytes("MemFree: 1 kB\nMemTotal:       2 kB\n"), 2_048);
    }
}
