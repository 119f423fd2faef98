//! Whose turn it is: smooth weighted round robin, worked out once.

/// The order of turns for peers with these weights: each peer's index as often as its weight (divided by the
/// weights' greatest common divisor), and never more of the same in a row than need be.
///
/// The algorithm is nginx's "smooth weighted round-robin": in each turn every peer gains its weight, the one that has
/// gained most goes and pays the sum of all.
pub(super) fn smooth_weighted_turns(weights: &[u32]) -> Vec<u16> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|&weight| i64::from(weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    let mut gained = vec![0_i64; weights.len()];
    (0..total)
        .filter_map(|_| {
            for (sum, weight) in gained.iter_mut().zip(&weights) {
                *sum += weight;
            }
            // Of equals the first one goes: `max_by_key` would take the last.
            let (at, most) = gained.iter_mut().enumerate().rev().max_by_key(|(_, sum)| **sum)?;
            *most -= total;
            u16::try_from(at).ok()
        })
        .collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(smooth_weighted_turns(&[7, 7, 7]), [0, 1, 2]);
        assert_eq!(smooth_weighted_turns(&[1000]), [0]);
        assert_eq!(smooth_weighted_turns(&[]), Vec::<u16>::new());
    }

    #[test]
    fn a_heavy_peer_goes_more_often_but_not_all_at_once() {
        // The example of nginx's commit message.
        assert_eq!(smooth_weighted_turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn every_peer_gets_its_share() {
        let weights = [3, 10, 1, 6];
        let turns = smooth_weighted_turns(&weights);
        for (at, weight) in weights.iter().enumerate() {
            assert_eq!(turns.iter().filter(|&&turn| usize::from(turn) == at).count(), *weight as usize);
        }
    }
}
