//! A mock AI upstream.
