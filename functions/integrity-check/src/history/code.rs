//! Numbers in two bytes: a history of a hundred thousand columns must fit beside everything else. Whether something is exactly none, or exactly all, is never lost.

/// There is no number.
pub(super) const NONE: u16 = u16::MAX;
const TOP: f64 = 65_534.0;
/// Above the logarithm of every count that can be.
const LOGARITHM_MAX: f64 = 45.0;

/// A share between 0 and 1: to two millionths of a percent point, 0 and 1 exactly.
pub(super) fn share(value: f64) -> u16 {
    if value.is_nan() {
        NONE
    } else if value <= 0.0 {
        0
    } else if value >= 1.0 {
        u16::MAX - 1
    } else {
        whole((value * TOP).clamp(1.0, TOP - 1.0))
    }
}

/// The share that [`share`] coded.
pub(super) fn to_share(code: u16) -> f64 {
    if code == NONE { f64::NAN } else { f64::from(code) / TOP }
}

/// A count: to less than a thousandth of it.
pub(super) fn count(value: f64) -> u16 {
    if value.is_nan() { NONE } else { whole((value.max(0.0).ln_1p() / LOGARITHM_MAX * TOP).min(TOP)) }
}

/// About the count that [`count`] coded.
pub(super) fn to_count(code: u16) -> f64 {
    if code == NONE { f64::NAN } else { (f64::from(code) / TOP * LOGARITHM_MAX).exp_m1().round() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and the largest code")]
fn whole(value: f64) -> u16 {
    value.round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_all_are_exact_and_the_rest_is_close() {
        assert_eq!(
            [to_share(share(0.0)), to_share(share(1.0)), to_count(count(0.0)), to_count(count(1.0))].map(f64::to_bits),
            [0.0, 1.0, 0.0, 1.0].map(f64::to_bits)
        );
        assert!(to_share(share(f64::NAN)).is_nan() && to_count(count(f64::NAN)).is_nan());
        assert!(to_share(share(1e-9)) > 0.0 && to_share(share(1.0 - 1e-9)) < 1.0, "a single row is not lost");
        for value in [2.0, 17.0, 1_234.0, 987_654_321.0, 1e15, 1e18] {
            assert!((to_count(count(value)) / value - 1.0).abs() < 1e-3, "{value}");
        }
        for value in [0.01, 0.5, 0.999] {
            assert!((to_share(share(value)) - value).abs() < 2e-5, "{value}");
        }
    }
}
