//! How many distinct values a column has, in 6,144 bits: an estimate that is the same whatever the order and however the pages are cut into windows, and that
//! of two tables can be made one. It never holds a value, and nothing can be read back from it.
//!
//! A multiresolution bitmap (Estan, Varghese, Fisk: Bitmap Algorithms for Counting Active Flows, 2006): each value's hash sets one bit; 15 of 16 hashes fall
//! into the first component, 15 of 16 of the others into the second, and so on. The number of values is the one that makes the bits that are set likeliest.
//! The server sets the bits; told which are set already, it skips their values: that, not the hash, is what makes it cheap.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bits of the components, and which share of all hashes falls into each.
const COMPONENTS: [(u32, f64); 5] =
    [(FIRST, 15.0 / 16.0), (OTHER, 15.0 / 256.0), (OTHER, 15.0 / 4_096.0), (OTHER, 15.0 / 65_536.0), (OTHER, 1.0 / 65_536.0)];
const FIRST: u32 = 2048;
const OTHER: u32 = 1024;
/// Bits of a sketch.
pub const BITS: u32 = FIRST + 4 * OTHER;
const WORDS: usize = (BITS / 64) as usize;
/// With fewer bits, their places are written; with more, all of them.
const SPARSE_MAX: u32 = 300;

/// The bits that were set.
#[derive(Clone, PartialEq, Eq)]
pub struct Sketch(Box<[u64; WORDS]>);

impl Default for Sketch {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Sketch of about {}", self.estimate())
    }
}

/// Four bits of a hash for each component but the last: if any is set, the hash is in it, else in a later one.
const MASKS: [u64; 4] = [0x7800, 0x7_8000, 0x78_0000, 0x780_0000];

/// The place of a hash's bit, as SQL over the name of an int8.
pub fn position_sql(hash: &str) -> String {
    let [first, second, third, fourth] = MASKS;
    format!(
        "(CASE WHEN {hash} & {first} <> 0 THEN {hash} & 2047 ELSE CASE WHEN {hash} & {second} <> 0 THEN 2048 WHEN {hash} & {third} <> 0 THEN 3072 \
         WHEN {hash} & {fourth} <> 0 THEN 4096 ELSE 5120 END + ({hash} >> 40 & 1023) END)::int4"
    )
}

impl Sketch {
    /// The aggregate that gives the bits of a hash, as text: places, if nothing is known yet and there are few rows; else a bit string of the new ones.
    pub fn aggregate_sql(&self, hash: &str, is_short: bool) -> String {
        let position = position_sql(hash);
        if is_short && self.is_empty() {
            // Sorting a few thousand places costs a tenth of a copy of the bits for each.
            return format!("array_to_string(array_agg(DISTINCT {position}) FILTER (WHERE {hash} IS NOT NULL), ',')");
        }
        // Once the first component is full, most values need no more than a look at four bits of their hash.
        let first = if self.first_is_full() { format!("{hash} & {} = 0 AND ", MASKS[0]) } else { String::new() };
        let known = self.0.iter().fold(String::new(), |text, word| format!("{text}{:016x}", word.reverse_bits()));
        format!("bit_or(set_bit(0::bit({BITS}), {position}, 1)) FILTER (WHERE {first}get_bit(X'{known}', {position}) = 0)::text")
    }

    /// Sets the bits that the aggregate gave. `false`: that is not what it gives.
    pub fn add(&mut self, text: &str) -> bool {
        if text.len() == BITS as usize && text.bytes().all(|byte| matches!(byte, b'0' | b'1')) {
            for place in text.bytes().zip(0..BITS).filter_map(|(byte, place)| (byte == b'1').then_some(place)) {
                self.set(place);
            }
            return true;
        }
        let places: Option<Vec<u32>> = text.split(',').map(|place| place.parse().ok().filter(|place| *place < BITS)).collect();
        for place in places.iter().flatten() {
            self.set(*place);
        }
        places.is_some()
    }

    /// Makes it a sketch of both.
    pub fn merge(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0.iter()) {
            *word |= more;
        }
    }

    /// Number of distinct values, within about 3 % to 10,000 and 6 % to 300 million of them, in two of three cases.
    pub fn estimate(&self) -> f64 {
        let mut from = 0;
        let counted = COMPONENTS.map(|(bits, share)| {
            let set = (from..from + bits).filter(|place| self.has(*place)).count();
            from += bits;
            #[expect(clippy::cast_precision_loss, reason = "at most 2,048")]
            let set = set as f64;
            (set, f64::from(bits) - set, share / f64::from(bits))
        });
        if self.is_empty() {
            return 0.0;
        }
        // The derivative of the likelihood falls; it is zero where the likelihood is greatest.
        let slope = |values: f64| counted.iter().map(|(set, clear, share)| set * share / (values * share).exp_m1() - clear * share).sum::<f64>();
        let (mut low, mut high) = (0.0_f64, 60.0_f64);
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if slope(middle.exp()) > 0.0 { low = middle } else { high = middle }
        }
        low.exp().round()
    }

    /// Whether no bit is set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn first_is_full(&self) -> bool {
        self.0[..(FIRST / 64) as usize].iter().all(|word| *word == u64::MAX)
    }

    fn set(&mut self, place: u32) {
        self.0[(place / 64) as usize] |= 1 << (place % 64);
    }

    fn has(&self, place: u32) -> bool {
        self.0[(place / 64) as usize] >> (place % 64) & 1 == 1
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Places(Vec<u32>),
    Words(String),
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        let written = if set <= SPARSE_MAX {
            Written::Places((0..BITS).filter(|place| self.has(*place)).collect())
        } else {
            Written::Words(self.0.iter().fold(String::new(), |text, word| format!("{text}{word:016x}")))
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut sketch = Self::default();
        let wrong = || serde::de::Error::custom("no sketch of distinct values");
        match Written::deserialize(deserializer)? {
            Written::Places(places) => {
                for place in places {
                    if place >= BITS {
                        return Err(wrong());
                    }
                    sketch.set(place);
                }
            }
            Written::Words(words) => {
                if words.len() != WORDS * 16 || !words.is_ascii() {
                    return Err(wrong());
                }
                for (word, index) in sketch.0.iter_mut().zip(0..) {
                    *word = u64::from_str_radix(&words[index * 16..index * 16 + 16], 16).map_err(|_| wrong())?;
                }
            }
        }
        Ok(sketch)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// What [`position_sql`] says, for a hash.
    fn position(hash: u64) -> u32 {
        let place = match MASKS.iter().position(|mask| hash & mask != 0) {
            Some(0) => hash & 0x7ff,
            component => 1024 * (component.unwrap_or(4) as u64 + 1) + (hash >> 40 & 0x3ff),
        };
        u32::try_from(place).expect("small")
    }

    fn of(rng: &mut StdRng, values: u32) -> Sketch {
        let mut sketch = Sketch::default();
        (0..values).for_each(|_| sketch.set(position(rng.random())));
        sketch
    }

    #[test]
    fn the_estimate_is_within_its_bounds_over_seeds() {
        assert_eq!(Sketch::default().estimate().to_bits(), 0.0_f64.to_bits());
        for (values, bound, seeds) in [
            (1, 0.0, 50),
            (5, 0.05, 50),
            (20, 0.03, 50),
            (100, 0.02, 50),
            (1_000, 0.02, 50),
            (10_000, 0.04, 30),
            (50_000, 0.06, 12),
            (150_000, 0.08, 6),
        ] {
            let errors: Vec<f64> =
                (0..seeds).map(|seed| (of(&mut StdRng::seed_from_u64(seed), values).estimate() - f64::from(values)) / f64::from(values)).collect();
            let count = f64::from(u32::try_from(seeds).expect("small"));
            let spread = (errors.iter().map(|error| error * error).sum::<f64>() / count).sqrt();
            let bias = errors.iter().sum::<f64>() / count;
            assert!(spread <= bound && bias.abs() <= bound, "{values} values, seeds 0..{seeds}: spread {spread}, bias {bias}");
        }
    }

    #[test]
    fn more_than_can_be_told_apart_is_a_number_too() {
        let full = Sketch(Box::new([u64::MAX; WORDS]));
        assert!(full.estimate() > 1e8 && full.estimate().is_finite());
    }

    #[test]
    fn whatever_is_merged_in_whatever_order_is_the_sketch_of_all() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let parts: Vec<Sketch> = (0..4)
                .map(|_| {
                    let values = rng.random_range(0..5_000);
                    of(&mut rng, values)
                })
                .collect();
            let merged = |order: &[usize]| {
                let mut sketch = Sketch::default();
                for part in order {
                    sketch.merge(&parts[*part]);
                }
                sketch
            };
            assert!(merged(&[0, 1, 2, 3]) == merged(&[3, 1, 0, 2, 1]), "seed {seed}");
            assert!(merged(&[0, 1, 2, 3]).estimate() >= parts[0].estimate(), "seed {seed}");
        }
    }

    #[test]
    fn it_is_written_and_read_back() {
        for values in [0, 1, 300, 301, 100_000] {
            let sketch = of(&mut StdRng::seed_from_u64(7), values);
            let written = serde_json::to_string(&sketch).expect("JSON");
            assert!(written.len() < 1_700, "{} bytes", written.len());
            assert!(serde_json::from_str::<Sketch>(&written).expect("a sketch") == sketch);
        }
        for wrong in ["[6144]", "\"00\"", "7", "\"é\""] {
            assert!(serde_json::from_str::<Sketch>(wrong).is_err(), "{wrong}");
        }
        let mut sketch = Sketch::default();
        assert!(sketch.add("1,2047,6143") && !sketch.add("6144") && !sketch.add("x") && !sketch.add(""));
        assert!(sketch.add(&"1".repeat(BITS as usize)) && sketch.first_is_full());
    }
}
