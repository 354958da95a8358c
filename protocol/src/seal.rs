//! Secrets at rest: sealed with a master key, bound to their tenant and name, opened only where they are used.
//!
//! ChaCha20-Poly1305 (RFC 8439) with a random nonce. The sealed form names the key that closed it, so that an
//! installation can have several: the first one seals, all of them open. That is how a key is replaced.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

use crate::id::{SecretName, TenantId};
use crate::secret::Secret;

/// Bytes of a master key.
const KEY_BYTES: usize = 32;
/// Master keys of one installation: one that seals, and old ones that are on their way out.
const KEYS: usize = 8;
/// What a sealed form begins with. Another way to seal gets another word.
const FORM: &str = "v1";
/// Hexadecimal digits of a master key's id.
const ID_DIGITS: usize = 16;

/// The master keys of an installation, the one that seals first. Never prints them.
#[derive(Clone)]
pub struct MasterKeys {
    keys: Vec<MasterKey>,
}

#[derive(Clone)]
struct MasterKey {
    id: String,
    key: LessSafeKey,
}

/// Why a text has no master keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// One of them isn't 32 bytes in Base64. The text is a secret, so only its place is told.
    #[error("master key {0} is not 32 bytes in Base64")]
    Malformed(usize),
    /// The same key comes twice.
    #[error("master key {0} comes twice")]
    Twice(usize),
    /// There are more than anyone needs.
    #[error("there are more than {KEYS} master keys")]
    TooMany,
}

/// A secret, closed. Anyone may see it; without the master key it says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    text: String,
}

/// The text is not what [`seal`] makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is stored is no sealed secret")]
pub struct NotSealed;

/// Why a secret can't be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no nonce.
    #[error("the operating system gives no random bytes")]
    Random(#[from] getrandom::Error),
    /// The value is larger than the cipher takes, which no limit of ours allows.
    #[error("the value can't be encrypted")]
    Cipher,
}

/// Why a sealed secret can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed with a key that isn't among ours.
    #[error("it is sealed with the master key {0}, which is not set here")]
    UnknownKey(String),
    /// It was changed, or moved from another tenant or name.
    #[error("it was damaged, or belongs to another tenant or name")]
    Forged,
}

impl MasterKeys {
    /// Reads keys out of a setting: 32 bytes in Base64 each, separated by commas, the one that seals first.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (number, part) in (1..).zip(text.split(',')) {
            let bytes = BASE64.decode(part.trim()).map_err(|_| KeyError::Malformed(number))?;
            let key = MasterKey::of(&bytes).ok_or(KeyError::Malformed(number))?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyError::Twice(number));
            }
            if keys.len() == KEYS {
                return Err(KeyError::TooMany);
            }
            keys.push(key);
        }
        Ok(Self { keys })
    }

    /// The ids of the keys, the one that seals first. They tell nothing about the keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }
}

impl MasterKey {
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?);
        let digest = Sha256::new().chain_update("sortie master key\0").chain_update(bytes).finalize();
        let id = digest.iter().take(ID_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { id, key })
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl FromStr for Sealed {
    type Err = NotSealed;
    /// Reads a stored form. That it can be opened is not said with it.
    fn from_str(text: &str) -> Result<Self, NotSealed> {
        let sealed = Self { text: text.to_owned() };
        let (id, body) = sealed.parts().ok_or(NotSealed)?;
        let good_id = id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let good_body = BASE64.decode(body).is_ok_and(|bytes| bytes.len() > NONCE_LEN);
        if good_id && good_body { Ok(sealed) } else { Err(NotSealed) }
    }
}

impl Sealed {
    /// The form to store.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id of the master key that it was sealed with.
    pub fn master_key(&self) -> &str {
        self.parts().map_or("", |(id, _)| id)
    }

    fn parts(&self) -> Option<(&str, &str)> {
        self.text.strip_prefix(FORM)?.strip_prefix(':')?.split_once(':')
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}…)", self.master_key())
    }
}

/// A new master key from the operating system, in the form that [`MasterKeys::parse`] reads.
pub fn new_master_key() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0_u8; KEY_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(BASE64.encode(bytes)))
}

/// Closes the value of `name`, a secret of `tenant`, with the first of the keys. Closing it twice gives two texts.
pub fn seal(
    keys: &MasterKeys,
    tenant: &TenantId,
    name: &SecretName,
    value: &Secret,
) -> Result<Sealed, SealError> {
    let mut nonce = [0_u8; NONCE_LEN];
    getrandom::fill(&mut nonce)?;
    // `parse` never gives none.
    let MasterKey { id, key } = keys.keys.first().ok_or(SealError::Cipher)?;
    let mut body = value.reveal().as_bytes().to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place(tenant, name), &mut body)
        .map_err(|_| SealError::Cipher)?;
    let text = format!("{FORM}:{id}:{}", BASE64.encode([&nonce[..], &body].concat()));
    Ok(Sealed { text })
}

/// Opens what [`seal`] closed for the same tenant and name.
pub fn open(
    keys: &MasterKeys,
    tenant: &TenantId,
    name: &SecretName,
    sealed: &Sealed,
) -> Result<Secret, OpenError> {
    let (id, body) = sealed.parts().ok_or(OpenError::Forged)?;
    let MasterKey { key, .. } =
        keys.keys.iter().find(|key| key.id == id).ok_or_else(|| OpenError::UnknownKey(id.to_owned()))?;
    let mut body = BASE64.decode(body).map_err(|_| OpenError::Forged)?;
    let (nonce, closed) = body.split_at_mut_checked(NONCE_LEN).ok_or(OpenError::Forged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Forged)?;
    let value = key.open_in_place(nonce, place(tenant, name), closed).map_err(|_| OpenError::Forged)?;
    String::from_utf8(value.to_vec()).map(Secret::new).map_err(|_| OpenError::Forged)
}

/// Where a secret belongs, as the cipher's associated data. Neither name can have a slash.
fn place(tenant: &TenantId, name: &SecretName) -> Aad<Vec<u8>> {
    Aad::from(format!("sortie/secret/{tenant}/{name}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn keys(text: &str) -> MasterKeys {
        MasterKeys::parse(text).unwrap()
    }

    fn fresh() -> String {
        new_master_key().unwrap().reveal().to_owned()
    }

    fn us() -> (TenantId, SecretName) {
        (TenantId::standard(), SecretName::new("API_KEY").unwrap())
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_tenant_and_name_only() {
        let (tenant, name) = us();
        let (ours, value) = (keys(ONE), Secret::new("sésame, ouvre-toi"));
        let sealed = seal(&ours, &tenant, &name, &value).unwrap();
        assert_eq!(open(&ours, &tenant, &name, &sealed), Ok(value.clone()));
        assert_eq!(sealed.as_str().parse(), Ok(sealed.clone()));
        assert!(!sealed.as_str().contains("ouvre") && !format!("{sealed:?} {ours:?}").contains("AAEC"));
        assert_ne!(seal(&ours, &tenant, &name, &value).unwrap(), sealed, "the nonce is random");

        let other = TenantId::new("other").unwrap();
        assert_eq!(open(&ours, &other, &name, &sealed), Err(OpenError::Forged));
        let named = SecretName::new("OTHER").unwrap();
        assert_eq!(open(&ours, &tenant, &named, &sealed), Err(OpenError::Forged));
        let strange = open(&keys(&fresh()), &tenant, &name, &sealed);
        assert_eq!(strange, Err(OpenError::UnknownKey(sealed.master_key().to_owned())));
    }

    #[test]
    fn a_form_that_must_stay_readable_still_opens() {
        // Sealed by the first release that could. If this breaks, every stored secret is lost.
        let (tenant, name) = us();
        let golden = include_str!("../fixtures/sealed-v1.txt").trim_end().parse().unwrap();
        assert_eq!(open(&keys(ONE), &tenant, &name, &golden).unwrap().reveal(), "open sesame");
    }

    #[test]
    fn a_new_key_seals_and_old_ones_still_open() {
        let (tenant, name) = us();
        let (old, new) = (fresh(), fresh());
        let before = seal(&keys(&old), &tenant, &name, &Secret::new("before it")).unwrap();
        let both = keys(&format!(" {new} , {old}\n"));
        assert_eq!(open(&both, &tenant, &name, &before).unwrap().reveal(), "before it");
        let after = seal(&both, &tenant, &name, &Secret::new("after it")).unwrap();
        assert_eq!(both.ids().collect::<Vec<_>>(), [after.master_key(), before.master_key()]);
        assert!(open(&keys(&old), &tenant, &name, &after).is_err());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (tenant, name) = us();
        let ours = keys(ONE);
        let sealed = seal(&ours, &tenant, &name, &Secret::new("01234567")).unwrap();
        let (head, body) = sealed.as_str().rsplit_once(':').unwrap();
        let body = BASE64.decode(body).unwrap();
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            let changed = format!("{head}:{}", BASE64.encode(changed)).parse().unwrap();
            assert_eq!(open(&ours, &tenant, &name, &changed), Err(OpenError::Forged), "byte {at}");
        }
    }

    #[test]
    fn keys_that_are_none_are_refused_without_being_shown() {
        let short = BASE64.encode([7; 31]);
        for (text, error) in [
            ("", KeyError::Malformed(1)),
            ("hunter2", KeyError::Malformed(1)),
            (short.as_str(), KeyError::Malformed(1)),
            (&format!("{ONE},"), KeyError::Malformed(2)),
            (&format!("{ONE},{ONE}"), KeyError::Twice(2)),
            (&(0..=KEYS).map(|_| fresh()).collect::<Vec<_>>().join(","), KeyError::TooMany),
        ] {
            assert_eq!(MasterKeys::parse(text).unwrap_err(), error);
        }
        for text in ["", "v1", "v1::", "v2:0123456789abcdef:AAAA", "v1:xyz:AAAA", "v1:0123456789abcdef:%"] {
            assert_eq!(text.parse::<Sealed>(), Err(NotSealed), "{text}");
        }
    }
}
