//! CPU time from `/proc`: who worked for how long, which on a machine that others use says more than the clock on the wall.

use std::fs;

/// Linux counts in hundredths of a second everywhere that we run (`man 5 proc`, `sysconf(_SC_CLK_TCK)`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    own: f64,
    ended_children: f64,
}

impl Cpu {
    /// Its own.
    pub fn own(self) -> f64 {
        self.own
    }

    /// Those of its children, and their children, that have ended and were waited for.
    pub fn ended_children(self) -> f64 {
        self.ended_children
    }

    /// Both.
    pub fn with_ended_children(self) -> f64 {
        self.own + self.ended_children
    }
}

/// Of a process id, or `self`. Nothing when it is gone.
pub fn of_process(pid: &str) -> Cpu {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything.
    let fields: Vec<f64> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    match fields[..] {
        [user, system, children_user, children_system] => {
            Cpu { own: (user + system) / TICKS_PER_SECOND, ended_children: (children_user + children_system) / TICKS_PER_SECOND }
        }
        _ => Cpu::default(),
    }
}

/// Load average of the last minute: how busy others keep the machine.
pub fn load() -> f64 {
    fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
