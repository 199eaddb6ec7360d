//! Keys and ID tokens of the issuer, made without the library that the site reads them with.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key with its name in the key set.
pub(super) struct Key {
    id: &'static str,
    kind: Kind,
}

enum Kind {
    Rsa(rsa::KeyPair),
    Ec(EcdsaKeyPair),
}

impl Key {
    pub(super) fn rsa(id: &'static str) -> Self {
        let kind = Kind::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048).unwrap());
        Self { id, kind }
    }

    pub(super) fn ec(id: &'static str) -> Self {
        let kind = Kind::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
        Self { id, kind }
    }

    /// Its public half, as a JWK.
    pub(super) fn public(&self) -> Value {
        match &self.kind {
            Kind::Rsa(key) => {
                // SEQUENCE { INTEGER n, INTEGER e } of a key of 2048 bits with e = 65537: the layout is fixed.
                let der = key.public_key().as_ref();
                assert_eq!((der.len(), &der[265..]), (270, &[2, 3, 1, 0, 1][..]));
                json!({ "kty": "RSA", "use": "sig", "kid": self.id, "n": encode(&der[9..265]), "e": "AQAB" })
            }
            Kind::Ec(key) => {
                // 4, x, y.
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": encode(x), "y": encode(y) })
            }
        }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let algorithm = match self.kind {
            Kind::Rsa(_) => "RS256",
            Kind::Ec(_) => "ES256",
        };
        let head = json!({ "alg": algorithm, "kid": self.id, "typ": "JWT" });
        token(&head, claims, |text| match &self.kind {
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    text,
                    &mut signature,
                )
                .unwrap();
                signature
            }
            Kind::Ec(key) => key
                .sign(&SystemRandom::new(), text)
                .unwrap()
                .as_ref()
                .to_vec(),
        })
    }
}

/// A token that nobody signed, and says so.
pub(super) fn unsigned(claims: &Value) -> String {
    token(&json!({ "alg": "none" }), claims, |_| Vec::new())
}

/// A token signed with a secret that both sides know.
pub(super) fn signed_with_secret(secret: &str, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    token(&json!({ "alg": "HS256" }), claims, |text| {
        hmac::sign(&key, text).as_ref().to_vec()
    })
}

pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn token(head: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!(
        "{}.{}",
        encode(head.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = sign(text.as_bytes());
    format!("{text}.{}", encode(&signature))
}
