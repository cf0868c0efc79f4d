//! The KMS key of a live value: whether it can be used, as far as that can be asked.

use aws_sdk_kms::types::KeyState;
use shared::aws;
use shared::failure::FailureKind;

use crate::remark::{Remark, Weight};

/// Looks at a key. One call.
pub(super) async fn check(kms: &aws_sdk_kms::Client, key: &str) -> Vec<Remark> {
    let answer = match kms.describe_key().key_id(key).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let failure = aws::failure(error);
            let fix = format!("allow kms:DescribeKey, kms:Encrypt and kms:Decrypt on {key} to the function's role");
            return match failure.kind {
                FailureKind::Denied => {
                    vec![Remark::new(
                        Weight::Unpredictable,
                        format!("the KMS key {key} may not be looked at: whether it can encrypt shows when it must"),
                        fix,
                    )]
                }
                _ if failure.to_string().contains("NotFound") => vec![Remark::new(Weight::Refused, format!("the KMS key {key} does not exist"), fix)],
                _ => vec![Remark::new(Weight::Unpredictable, format!("the KMS key {key} could not be looked at: {failure}"), fix)],
            };
        }
    };
    let metadata = answer.key_metadata;
    match metadata.as_ref().and_then(|metadata| metadata.key_state.clone()) {
        Some(KeyState::Enabled) => Vec::new(),
        state => {
            let state = state.map_or_else(|| "unknown".to_owned(), |state| state.as_str().to_owned());
            let fix = format!("enable it, or cancel its deletion: aws kms enable-key --key-id {key}");
            vec![Remark::new(Weight::Refused, format!("the KMS key {key} cannot be used: its state is {state}"), fix)]
        }
    }
}
