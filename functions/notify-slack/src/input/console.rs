//! Addresses of pages of the AWS console. A page that moved still leads to the console; nothing is asked for here.

use shared::key::segment;

/// Where the console of a partition is.
fn host(region: &str) -> String {
    let domain = match region {
        _ if region.starts_with("cn-") => "console.amazonaws.cn",
        _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!("https://{region}.{domain}")
}

/// A page of a service. `fragment` is put together of [`part`]s.
pub(super) fn page(region: Option<&str>, service: &str, fragment: &str) -> Option<String> {
    let region = region?;
    Some(format!("{}/{service}/home?region={region}#{fragment}", host(region)))
}

/// Part of an address.
pub(super) fn part(name: &str) -> String {
    segment(name)
}

/// An alarm.
pub(super) fn alarm(region: Option<&str>, name: &str) -> Option<String> {
    page(region, "cloudwatch", &format!("alarmsV2:alarm/{}", part(name)))
}

/// A parameter.
pub(super) fn parameter(region: Option<&str>, name: &str) -> Option<String> {
    let region = region?;
    let path: Vec<String> = name.trim_start_matches('/').split('/').map(part).collect();
    Some(format!("{}/systems-manager/parameters/{}/description?region={region}", host(region), path.join("/")))
}

/// A secret.
pub(super) fn secret(region: Option<&str>, name: &str) -> Option<String> {
    let region = region?;
    Some(format!("{}/secretsmanager/secret?name={}&region={region}", host(region), part(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::is_link;

    #[test]
    fn a_name_cannot_leave_its_place_in_an_address() {
        let address = alarm(Some("eu-central-1"), "a b|<!channel>#/x").expect("an address");
        assert_eq!(
            address,
            "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#alarmsV2:alarm/a%20b%7C%3C%21channel%3E%23%2Fx"
        );
        assert!(is_link(&address) && alarm(None, "x").is_none());
        let parameter = parameter(Some("cn-north-1"), "/shop/prod/key").expect("an address");
        assert_eq!(parameter, "https://cn-north-1.console.amazonaws.cn/systems-manager/parameters/shop/prod/key/description?region=cn-north-1");
    }
}
