//! A refusal as it is noted on the request path: what is of fixed size, and one piece of memory for all the rest.
//!
//! In a flood nearly every note is overwritten before anybody reads it, so a note must cost next to nothing: the memory of
//! the one before is used again.

use std::io::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method};
use zeroize::{Zeroize, Zeroizing};

use super::{Denial, Refused};
use crate::auth::diagnosis::Circumstances;
use crate::auth::explain::{Glimpse, MOST_SEEN, Way, explain};
use crate::auth::misplaced::Misplaced;
use crate::auth::{CREDENTIAL_HEADERS, Content, CredentialHeader, Deny, Facts};
use crate::clock::UnixSeconds;
use crate::policy::Snapshot;

/// Bytes of a path or host that are kept.
const LONGEST_PATH: usize = 256;

/// Bytes of a request id that are kept; it is not longer.
const LONGEST_ID: usize = 128;

/// Lines of one header that are kept: one more than may be.
const MOST_LINES: usize = 2;

/// Id, path, host, and the lines of each header.
const MOST_PIECES: usize = 3 + CREDENTIAL_HEADERS.len() * MOST_LINES;

/// A refusal before its analysis. All but this stands in [`Pieces`]: the id of the request, its path, its host (empty: it
/// is not known), then the lines of each header that was present.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct Raw {
    deny: Deny,
    at: UnixSeconds,
    client: Option<IpAddr>,
    method: Method,
    content: Content,
    misplaced: Option<Misplaced>,
    generation: u64,
    /// Lines that are kept of each of [`CREDENTIAL_HEADERS`].
    lines: [u8; CREDENTIAL_HEADERS.len()],
}

impl Raw {
    /// Notes a refusal, with `pieces` for what has no fixed size.
    pub(in crate::telemetry) fn note(refused: &Refused<'_>, pieces: &mut Pieces) -> Self {
        let facts = &refused.facts;
        let host = refused.host.unwrap_or_default();
        let fixed = [
            start(refused.request_id.as_bytes(), LONGEST_ID),
            start(facts.path, LONGEST_PATH),
            start(host, LONGEST_PATH),
        ];
        let (mut all, mut lines) = ([&[][..]; MOST_PIECES], [0; CREDENTIAL_HEADERS.len()]);
        let mut places = all.iter_mut();
        places.by_ref().zip(fixed).for_each(|(place, piece)| *place = piece);
        for (header, count) in CREDENTIAL_HEADERS.into_iter().zip(&mut lines) {
            if !refused.deny.present.has(header) {
                continue;
            }
            for value in facts.headers.get_all(header.name()).iter().take(MOST_LINES) {
                let Some(place) = places.next() else { break };
                *place = start(value.as_bytes(), MOST_SEEN);
                *count += 1;
            }
        }
        let used = MOST_PIECES - places.len();
        pieces.fill(all.get(..used).unwrap_or_default());
        Self {
            deny: refused.deny,
            at: refused.at,
            client: refused.client,
            method: facts.method.clone(),
            content: facts.content,
            misplaced: refused.misplaced,
            generation: refused.generation,
            lines,
        }
    }

    /// With the policy in force now, which is nearly always the one that decided.
    pub(in crate::telemetry) fn explain(
        &self,
        pieces: &Pieces,
        policy: &Snapshot,
        around: &Circumstances,
    ) -> Denial {
        let mut rest = pieces.iter();
        let mut next = || rest.next().unwrap_or_default();
        let (request_id, path, host) = (next(), next(), next());
        let lines: Vec<(CredentialHeader, &[u8])> = CREDENTIAL_HEADERS
            .into_iter()
            .zip(self.lines)
            .flat_map(|(header, count)| (0..count).map(move |_| header))
            .zip(rest)
            .collect();
        let mut headers = HeaderMap::with_capacity(lines.len());
        for (header, value) in &lines {
            if let Ok(mut value) = HeaderValue::from_bytes(value) {
                value.set_sensitive(true);
                headers.append(header.name(), value);
            }
        }
        let facts = Facts { method: &self.method, path, headers: &headers, content: self.content };
        let way =
            Way { host: (!host.is_empty()).then_some(host), client: self.client, misplaced: self.misplaced };
        let mut explanation = explain(policy, &facts, way, self.at);
        explanation.consider(around);
        let credential = lines.iter().find_map(|(header, line)| header.values_of_line(line).next());
        Denial {
            at: self.at,
            request_id: String::from_utf8_lossy(request_id).into_owned(),
            client: self.client,
            method: self.method.to_string(),
            path: path.escape_ascii().to_string(),
            generation: self.generation,
            status: self.deny.cause.status(),
            code: self.deny.cause.code(),
            header: self.deny.present.deciding().map(CredentialHeader::label),
            ignored: self.deny.present.ignored().map(CredentialHeader::label).collect(),
            credential: credential.map(|value| Glimpse(value).to_string()),
            explanation,
        }
    }
}

fn start(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

/// Pieces of bytes, one behind the other in memory that is used again: each with its length before it. Nothing is left of
/// what was there before.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Pieces {
    memory: Zeroizing<Vec<u8>>,
    /// Bytes of it that are in use; the others are 0.
    used: usize,
}

/// What a request with one credential takes, and some.
const USUAL_BYTES: usize = 512;

/// Before each piece.
type Length = u16;

impl Pieces {
    /// Puts these in place of what was there. Each is shorter than 64 KiB.
    fn fill(&mut self, pieces: &[&[u8]]) {
        let needed = pieces.iter().map(|piece| size_of::<Length>() + piece.len()).sum::<usize>();
        if self.memory.len() < needed {
            // Not grown: that could leave a copy of a credential behind.
            *self = Self { memory: Zeroizing::new(vec![0; needed.max(USUAL_BYTES)]), used: 0 };
        }
        let mut place = self.memory.as_mut_slice();
        for piece in pieces {
            // There is room.
            let _ = place.write_all(&(piece.len() as Length).to_le_bytes());
            let _ = place.write_all(piece);
        }
        // The end of a longer one.
        place.get_mut(..self.used.saturating_sub(needed)).unwrap_or_default().fill(0);
        self.used = needed;
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.memory.get(..self.used).unwrap_or_default();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let (piece, further) = behind.split_at_checked(Length::from_le_bytes(*length).into())?;
            rest = further;
            Some(piece)
        })
    }

    /// The first of them: the id of the request.
    pub(super) fn request_id(&self) -> &[u8] {
        self.iter().next().unwrap_or_default()
    }

    /// Overwrites them; the memory stays for the next ones, if it is not unusually much.
    pub(super) fn forget(&mut self) {
        if self.memory.len() > USUAL_BYTES {
            *self = Self::default();
        }
        self.memory.as_mut_slice().zeroize();
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_that_were_put_in_last_and_nothing_is_left_of_others() {
        let mut pieces = Pieces::default();
        let long = [b'a'; 300];
        for fill in [&[&b"id"[..], b"", b"a secret"][..], &[&long, &long], &[b"b", b""], &[]] {
            pieces.fill(fill);
            assert_eq!(pieces.iter().collect::<Vec<_>>(), fill);
            assert_eq!(pieces.request_id(), fill.first().copied().unwrap_or_default());
            assert!(pieces.memory[pieces.used..].iter().all(|byte| *byte == 0));
        }
        pieces.fill(&[&long]);
        pieces.forget();
        assert!(pieces.memory.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn memory_is_used_again_and_given_back_where_it_is_unusually_much() {
        let mut pieces = Pieces::default();
        pieces.fill(&[b"id"]);
        let place = pieces.memory.as_ptr();
        pieces.forget();
        pieces.fill(&[&[b'a'; 500]]);
        assert_eq!(pieces.memory.as_ptr(), place);
        pieces.fill(&[&[b'a'; 1024]]);
        assert_ne!(pieces.memory.as_ptr(), place);
        pieces.forget();
        assert_eq!((pieces.memory.len(), pieces.iter().count()), (0, 0));
    }
}
