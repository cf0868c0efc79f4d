//! What RDS's events mean, by their ids: how bad, in our words, and which of them begin and end the same trouble.
//!
//! The category does not tell: "notification" holds both a burst balance that runs out and an instance that started by itself. Ids: RDS user guide,
//! "Amazon RDS event categories and event messages". What is not in here has the severity of its category.

use shared::finding::Severity::{self, Critical, Note, Warning};

use super::event::State::{self, Firing, Resolved};

/// One id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: u16,
    pub(super) severity: Severity,
    pub(super) words: &'static str,
    /// The trouble that it begins or ends, by name.
    pub(super) trouble: Option<(&'static str, State)>,
    pub(super) advice: Option<&'static str>,
}

const fn note(id: u16, words: &'static str) -> Known {
    Known { id, severity: Note, words, trouble: None, advice: None }
}

const fn warning(id: u16, words: &'static str) -> Known {
    Known { id, severity: Warning, words, trouble: None, advice: None }
}

const fn begins(id: u16, severity: Severity, trouble: &'static str, words: &'static str) -> Known {
    Known { id, severity, words, trouble: Some((trouble, Firing)), advice: None }
}

const fn ends(id: u16, severity: Severity, trouble: &'static str, words: &'static str) -> Known {
    Known { id, severity, words, trouble: Some((trouble, Resolved)), advice: None }
}

const fn with(known: Known, advice: &'static str) -> Known {
    Known { advice: Some(advice), ..known }
}

/// Every id that we have words for.
pub(super) const KNOWN: [Known; 96] = [
    // Backups
    note(1, "a backup begins"),
    note(2, "a backup is done"),
    with(
        begins(28, Critical, "automated backups", "automated backups are switched off: there is no point-in-time recovery"),
        "switch them on again, or find out who switched them off",
    ),
    ends(32, Critical, "automated backups", "automated backups are switched on again"),
    note(40, "a manual snapshot begins"),
    note(42, "a manual snapshot is done"),
    warning(41, "a snapshot was deleted"),
    note(43, "it was restored from a snapshot"),
    note(90, "an automated snapshot begins"),
    note(91, "an automated snapshot is done"),
    note(59, "a copy of a snapshot from another region begins"),
    note(60, "a copy of a snapshot from another region is done"),
    warning(61, "a copy of a snapshot from another region was cancelled"),
    note(196, "a copy of a snapshot begins"),
    note(197, "a copy of a snapshot is done"),
    warning(190, "a copy of a snapshot was cancelled"),
    warning(159, "the export of a snapshot failed"),
    note(160, "the export of a snapshot was cancelled"),
    note(161, "the export of a snapshot is done"),
    note(19, "it was restored to a point in time"),
    warning(285, "the final snapshot could not be made"),
    // Storage
    with(begins(7, Critical, "storage", "the storage is used up"), "make the storage larger now; nothing can be written until then"),
    with(begins(89, Critical, "storage", "hardly any storage is left"), "make the storage larger before it is full"),
    with(
        begins(221, Critical, "storage", "the storage is full, and the instance was shut down to keep the data sound"),
        "make the storage larger: the instance starts again by itself",
    ),
    with(begins(222, Critical, "storage", "the storage is nearly full, and the instance will be shut down"), "make the storage larger now"),
    with(begins(223, Critical, "storage", "the storage cannot grow by itself"), "look at the instance's events, and make it larger by hand"),
    with(begins(224, Warning, "storage", "the storage will soon reach the size up to which it may grow"), "raise the maximum of its autoscaling"),
    with(
        begins(254, Critical, "storage", "the storage cannot grow: the account's quota of storage is used up"),
        "ask AWS for a larger quota of storage",
    ),
    ends(17, Critical, "storage", "the storage was made larger"),
    note(18, "the storage is being made larger"),
    note(217, "the storage grows by itself"),
    ends(218, Critical, "storage", "the storage grew by itself"),
    begins(189, Warning, "burst balance", "the burst balance of the storage is low: it will get slow"),
    with(begins(225, Warning, "storage", "the storage nears the size up to which it may grow"), "raise the maximum of its autoscaling"),
    // There, or not
    begins(4, Warning, "shutdown", "the instance was shut down"),
    ends(6, Warning, "shutdown", "the instance was restarted"),
    with(begins(87, Warning, "stopped", "the instance was stopped"), "after seven days RDS starts it by itself"),
    ends(88, Warning, "stopped", "the instance was started"),
    with(
        warning(154, "the instance was started by RDS: it had been stopped for seven days"),
        "stop it again if nobody needs it: it costs money from now on",
    ),
    note(5, "the instance was created"),
    warning(3, "the instance was deleted"),
    with(begins(31, Critical, "failure", "the instance failed, and AWS advises to restore it"), "restore it to the last good moment"),
    begins(35, Critical, "failure", "the instance has parameters that do not fit together"),
    begins(36, Critical, "failure", "the instance is in a network that it cannot use"),
    begins(20, Critical, "recovery", "the instance is being recovered: it is not there until that is done"),
    ends(21, Critical, "recovery", "the recovery is done"),
    note(23, "a snapshot was asked for while another is being made"),
    begins(52, Critical, "recovery", "the instance with its standby is being recovered"),
    ends(53, Critical, "recovery", "the recovery with its standby is done"),
    begins(361, Warning, "standby", "the standby is being recovered: there is none until that is done"),
    ends(362, Warning, "standby", "the standby is recovered"),
    with(
        begins(418, Critical, "key", "RDS cannot use the key of the storage; if that lasts, the database is gone"),
        "look whether somebody disabled the key or changed its policy",
    ),
    with(
        begins(419, Critical, "key", "RDS cannot use the key of the storage: the database is made inaccessible"),
        "enable the key again, or give RDS its use back",
    ),
    ends(420, Critical, "key", "RDS can use the key of the storage again"),
    warning(404, "too little memory: RDS made shared_buffers smaller by itself"),
    ends(65, Critical, "failover", "a failover that was only partly done is over"),
    begins(13, Critical, "failover", "a failover begins: the standby takes over"),
    ends(15, Critical, "failover", "the failover is done, and connections are possible again in a moment"),
    ends(49, Critical, "failover", "the failover is done"),
    begins(50, Critical, "failover", "the standby is being activated"),
    ends(51, Critical, "failover", "the standby is active"),
    warning(34, "a failover was asked for and not made: there was one a moment ago"),
    // Maintenance
    begins(26, Warning, "maintenance", "maintenance begins: the instance is not there for a while"),
    ends(27, Warning, "maintenance", "maintenance is done"),
    note(47, "the instance's software was patched"),
    note(155, "a minor version of the engine is there to upgrade to"),
    warning(422, "RDS will move the instance to another host"),
    note(264, "the check before an upgrade of the engine begins"),
    note(265, "the check before an upgrade of the engine is done"),
    note(266, "the instance is not there for a while: its engine is being upgraded"),
    begins(267, Warning, "upgrade", "the upgrade of the engine begins"),
    ends(268, Warning, "upgrade", "the upgrade of the engine is done"),
    note(269, "what remains to be done after an upgrade of the engine goes on"),
    begins(270, Critical, "upgrade", "the upgrade of the engine failed, and was taken back"),
    note(230, "a patch of the system is there for the instance"),
    // Settings
    warning(16, "the master user's password was set anew"),
    begins(67, Critical, "password", "the master user's password could not be set"),
    note(12, "the class of the instance is being changed"),
    note(14, "the class of the instance was changed"),
    note(25, "the instance has a standby now"),
    note(24, "the instance is being given a standby"),
    warning(30, "the instance is being left without a standby"),
    warning(29, "the instance is without a standby now"),
    note(92, "the parameter group was brought up to date"),
    note(33, "more than one user has the master user's name"),
    warning(86, "an option group does not fit the instance"),
    warning(79, "enhanced monitoring is off, because its role may not do it"),
    warning(80, "enhanced monitoring is off, because it could not be set up"),
    warning(278, "the instance could not be created"),
    // Replicas
    begins(45, Critical, "replication", "replication has stopped"),
    ends(46, Critical, "replication", "replication goes on"),
    begins(57, Warning, "replication", "replication was ended"),
    begins(62, Warning, "replication", "replication was stopped by hand"),
    warning(202, "a read replica could not be created"),
    warning(44, "a message of AWS's operators"),
    note(11, "the parameter group was changed"),
];

/// Finds an id: `RDS-EVENT-0049`, also at the end of an address.
pub(super) fn known(id: &str) -> Option<&'static Known> {
    let number: u16 = id.rsplit("RDS-EVENT-").next().filter(|_| id.contains("RDS-EVENT-"))?.parse().ok()?;
    KNOWN.iter().find(|known| known.id == number)
}

/// The severity of an id that is not known.
pub(super) fn of_category(categories: &[String]) -> Severity {
    let is = |wanted: &[&str]| categories.iter().any(|category| wanted.iter().any(|word| category.eq_ignore_ascii_case(word)));
    if is(&["failure", "low storage", "global failover"]) {
        Critical
    } else if is(&["availability", "failover", "recovery", "deletion", "notification", "security", "security patching"]) {
        Warning
    } else {
        Note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_there_once_and_whatever_begins_can_end() {
        for known in &KNOWN {
            assert_eq!(KNOWN.iter().filter(|other| other.id == known.id).count(), 1, "{}", known.id);
            assert!(known.words.starts_with("RDS ") || known.words.starts_with(char::is_lowercase), "{}", known.id);
        }
        for (trouble, state) in KNOWN.iter().filter_map(|known| known.trouble) {
            assert!(state == Firing || KNOWN.iter().any(|other| other.trouble == Some((trouble, Firing))), "{trouble} ends and never begins");
        }
    }

    #[test]
    fn an_id_is_found_in_both_forms() {
        let id = |text: &str| known(text).map(|known| known.id);
        assert_eq!([id("RDS-EVENT-0049"), id("http://docs.example/USER_Events.html#RDS-EVENT-0041")], [Some(49), Some(41)]);
        assert_eq!([id("RDS-EVENT-9999"), id("49"), id("")], [None, None, None]);
        assert_eq!([of_category(&["failure".into()]), of_category(&["Backup".into()])], [Critical, Note]);
    }
}
