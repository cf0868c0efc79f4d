use super::*;

fn secret(stages: &[(&str, &[&str])]) -> Described {
    let stages = stages.iter().map(|(version, stages)| ((*version).to_owned(), stages.iter().map(|stage| (*stage).to_owned()).collect())).collect();
    Described { name: "shop".into(), rotation_enabled: Some(true), owning_service: None, stages }
}

#[test]
fn both_spellings_of_the_four_steps_are_understood() {
    let staged = secret(&[("old", &[CURRENT]), ("new", &[PENDING])]);
    for (spellings, step) in [
        (["createSecret", "create_secret"], Step::Create),
        (["setSecret", "set_secret"], Step::Set),
        (["testSecret", "test_secret"], Step::Test),
        (["finishSecret", "finish_secret"], Step::Finish),
    ] {
        for spelling in spellings {
            assert_eq!(preamble(spelling, "new", &staged), Ok(Preamble::Do(step)));
        }
    }
    for unknown in ["", "CreateSecret", "deleteSecret", "createSecret "] {
        assert!(preamble(unknown, "new", &staged).is_err(), "{unknown}");
    }
}

#[test]
fn what_is_current_already_is_nothing_to_do_at_every_step() {
    // Secrets Manager leaves AWSPENDING on the version that became current.
    for stages in [&[CURRENT][..], &[CURRENT, PENDING]] {
        let done = secret(&[("new", stages), ("old", &["AWSPREVIOUS"])]);
        for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
            assert_eq!(preamble(step, "new", &done), Ok(Preamble::NothingToDo));
        }
    }
}

#[test]
fn what_may_not_be_rotated_is_refused() {
    let staged = secret(&[("old", &[CURRENT]), ("new", &[PENDING])]);
    assert!(preamble("setSecret", "new", &staged).is_ok());
    assert!(preamble("setSecret", "other", &staged).is_err(), "a version that is not there");
    assert!(preamble("setSecret", "new", &secret(&[("old", &[CURRENT]), ("new", &[])])).is_err(), "a version that is not staged");
    assert!(preamble("setSecret", "old", &secret(&[("old", &["AWSPREVIOUS"]), ("new", &[CURRENT])])).is_err(), "an older version");
    assert!(preamble("setSecret", "new", &Described { rotation_enabled: Some(false), ..staged.clone() }).is_err(), "rotation is off");
    assert!(preamble("setSecret", "new", &Described { rotation_enabled: None, ..staged.clone() }).is_ok(), "an answer that does not say");
    let owned = preamble("setSecret", "new", &Described { owning_service: Some("rds".into()), ..staged }).expect_err("managed by RDS");
    assert!(owned.hint.is_some_and(|hint| hint.contains("rotate-master-user-password")));
}
