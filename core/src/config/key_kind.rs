//! What a file has in the place of a certificate or a private key that can be used, by its name.

use rustls::pki_types::PrivateKeyDer;

/// Private keys that rustls takes.
const SUPPORTED: &str =
    "RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, and Ed25519 can be used";

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Object identifiers of key algorithms, as DER has them, and their names.
const ALGORITHMS: [(&[u8], &str); 7] = [
    (RSA, "RSA"),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a],
        "RSA-PSS",
    ),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
    (EC, "ECDSA"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x2b, 0x65, 0x6e], "X25519"),
    (&[0x2b, 0x65, 0x6f], "X448"),
];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The same of elliptic curves.
const CURVES: [(&[u8], &str); 4] = [
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x21], "P-224"),
    (
        &[0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07],
        "brainpoolP256r1",
    ),
];

/// What a file is that is not PEM, or has no private key that is readable, and how to mend it.
pub(super) fn not_a_key(file: &[u8]) -> Option<&'static str> {
    let has = |text: &str| file.windows(text.len()).any(|w| w == text.as_bytes());
    match () {
        () if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") => {
            Some(
                "has an encrypted private key, and nobody to ask for its password; write it unencrypted: openssl pkey -in … -out …",
            )
        }
        () if has("-----BEGIN OPENSSH PRIVATE KEY-----") => Some(
            "has a private key in OpenSSH's own format; write it as PEM: ssh-keygen -p -m PKCS8 -f …",
        ),
        () if has("-----BEGIN DSA PRIVATE KEY-----") => {
            Some("has a DSA key, which TLS does not use any more; make one of another kind")
        }
        () => binary(file),
    }
}

/// What a file is that is not PEM, and how to mend it.
pub(super) fn binary(file: &[u8]) -> Option<&'static str> {
    const PKCS12: &[u8] = &[0x02, 0x01, 0x03]; // its version, 3
    const JAVA: &[u8] = &[0xfe, 0xed, 0xfe, 0xed];
    const SEQUENCE: u8 = 0x30;
    if file.starts_with(JAVA) {
        return Some(
            "is a Java key store, not PEM; write it as PKCS#12 with keytool, and that as PEM with openssl pkcs12",
        );
    }
    match element(file) {
        Some((SEQUENCE, content, _)) if content.starts_with(PKCS12) => Some(
            "is a PKCS#12 file (.p12, .pfx), not PEM; take what is in it out: openssl pkcs12 -in … -nodes -out …",
        ),
        Some((SEQUENCE, ..)) => Some(
            "is DER, not PEM; write it as PEM: openssl x509 (or pkey) -inform DER -in … -out …",
        ),
        _ => None,
    }
}

/// The name of a private key's kind that rustls does not take, and which it does.
pub(super) fn unsupported(key: &PrivateKeyDer<'_>) -> String {
    let name = match key {
        PrivateKeyDer::Pkcs1(der) => rsa(der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(der) => Some(ecdsa(der.secret_sec1_der())),
        PrivateKeyDer::Pkcs8(der) => pkcs8(der.secret_pkcs8_der()),
        _ => None,
    };
    match name {
        Some(name) => format!("the private key is {name}, which is not supported: {SUPPORTED}"),
        None => {
            format!("the private key is damaged, or of a kind that is not supported: {SUPPORTED}")
        }
    }
}

/// `SEQUENCE { version, SEQUENCE { algorithm, parameters }, OCTET STRING }` (RFC 5958).
fn pkcs8(der: &[u8]) -> Option<String> {
    let (_, info, _) = element(der)?;
    let (_, _, info) = element(info)?;
    let (_, algorithm, info) = element(info)?;
    let (_, id, parameters) = element(algorithm)?;
    let name = ALGORITHMS.iter().find(|(known, _)| *known == id)?.1;
    match id {
        RSA => rsa(element(info)?.1),
        EC => Some(ecdsa(parameters)),
        _ => Some(format!("of the kind {name}")),
    }
}

/// `SEQUENCE { version, modulus, … }` (RFC 8017).
fn rsa(der: &[u8]) -> Option<String> {
    let (_, numbers, _) = element(der)?;
    let (_, _, numbers) = element(numbers)?;
    let (_, modulus, _) = element(numbers)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let modulus = &modulus[first..];
    let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
    (!RSA_BITS.contains(&bits)).then(|| format!("RSA of {bits} bits"))
}

/// Of a curve that is named somewhere in `der`.
fn ecdsa(der: &[u8]) -> String {
    let named = |(id, _): &&(&[u8], &str)| der.windows(id.len()).any(|w| w == *id);
    match CURVES.iter().find(named) {
        Some((_, curve)) => format!("ECDSA on {curve}"),
        None => "ECDSA on a curve of its own".into(),
    }
}

/// The first element of DER: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = der else {
        return None;
    };
    let (length, rest) = match usize::from(*length) {
        short @ ..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest
                .split_at_checked(long - 0x80)
                .filter(|(b, _)| b.len() <= 4)?;
            (
                bytes
                    .iter()
                    .fold(0, |all, byte| all << 8 | usize::from(*byte)),
                rest,
            )
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}
