//! The configured and the effective mode.

use std::fmt;

use super::Exposure;

/// Who needs a key, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Nobody.
    Off,
    /// Every request.
    Strict,
    /// Every request but `GET` and `HEAD` of `/healthz`.
    AllExceptHealth,
    /// Depends on who can connect.
    Auto,
}

/// Who needs a key, in effect. `auto` is no policy of its own, so it cannot be named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectiveMode {
    /// Nobody.
    Off,
    /// Every request.
    Strict,
    /// Every request but `GET` and `HEAD` of `/healthz`.
    AllExceptHealth,
}

impl AuthMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Off, Self::Strict, Self::AllExceptHealth, Self::Auto];

    /// What this mode means while `exposure` says who can connect.
    pub fn resolve(self, exposure: Exposure) -> EffectiveMode {
        match (self, exposure) {
            (Self::Off, _) | (Self::Auto, Exposure::Loopback) => EffectiveMode::Off,
            (Self::Strict, _) => EffectiveMode::Strict,
            (Self::AllExceptHealth, _) | (Self::Auto, Exposure::Network) => EffectiveMode::AllExceptHealth,
        }
    }
}

impl fmt::Display for AuthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::AllExceptHealth => "all_except_health",
            Self::Auto => "auto",
        })
    }
}

impl fmt::Display for EffectiveMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::AllExceptHealth => "all_except_health",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_auto_depends_on_who_can_connect() {
        for exposure in [Exposure::Loopback, Exposure::Network] {
            assert_eq!(AuthMode::Off.resolve(exposure), EffectiveMode::Off);
            assert_eq!(AuthMode::Strict.resolve(exposure), EffectiveMode::Strict);
            assert_eq!(AuthMode::AllExceptHealth.resolve(exposure), EffectiveMode::AllExceptHealth);
        }
        assert_eq!(AuthMode::Auto.resolve(Exposure::Loopback), EffectiveMode::Off);
        assert_eq!(AuthMode::Auto.resolve(Exposure::Network), EffectiveMode::AllExceptHealth);
    }
}
