use super::*;

fn event(severity: EventSeverity, message: &str) -> EventDescription {
    EventDescription::builder().severity(severity).message(message).build()
}

#[test]
fn a_restart_is_done_when_the_environment_is_ready_and_says_so() {
    let begun: DateTime<Utc> = "2026-11-23T02:00:00Z".parse().expect("a time");
    let soon = begun + TimeDelta::seconds(20);
    let starting = event(EventSeverity::Info, "restartAppServer is starting.");
    let done = event(EventSeverity::Info, "restartAppServer completed successfully.");
    let failed = event(EventSeverity::Error, "Failed to restart the application server.");
    let of = |status: EnvironmentStatus, events: &[EventDescription], now| progress(Some(&status), events, begun, now);
    assert_eq!(of(EnvironmentStatus::Ready, &[done.clone(), starting.clone()], soon), Progress::Done);
    assert_eq!(of(EnvironmentStatus::Ready, std::slice::from_ref(&starting), soon), Progress::UnderWay, "it only begins");
    assert_eq!(of(EnvironmentStatus::Ready, &[], soon), Progress::UnderWay, "nothing was said yet");
    assert_eq!(
        of(EnvironmentStatus::Ready, std::slice::from_ref(&starting), begun + TimeDelta::minutes(SILENT_MINUTES)),
        Progress::Done,
        "the event was lost"
    );
    assert_eq!(of(EnvironmentStatus::Updating, std::slice::from_ref(&done), soon), Progress::UnderWay);
    assert!(matches!(of(EnvironmentStatus::Ready, &[done, failed, starting.clone()], soon), Progress::Failed(_)));
    assert!(begins_restart(&starting) && !begins_restart(&event(EventSeverity::Info, "restartAppServer completed successfully.")));
}
