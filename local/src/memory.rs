//! How much memory a process and its children have held, from `/proc`.

use std::fs;
use std::path::PathBuf;

/// Sum of the peaks (`VmHWM`, in bytes) of a process and of all its living descendants; `None` when the process is gone or a zombie.
pub(crate) fn peak_of_tree(pid: u32) -> Option<u64> {
    let mut sum = peak_bytes(pid)?;
    let program = program_of(pid);
    let mut waiting = children(pid);
    while let Some(child) = waiting.pop() {
        // Between fork and exec a child still *is* its parent's memory.
        if program_of(child) != program {
            sum += peak_bytes(child).unwrap_or(0);
        }
        waiting.extend(children(child));
    }
    Some(sum)
}

fn program_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// A process without memory of its own has ended and waits to be collected.
fn peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    threads.flatten().map(of_thread).flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
