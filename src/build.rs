//! Writes Mozilla's list of authorities as it is built in: the fields of each, in order, each behind its
//! length in two bytes, little-endian, and all of it packed as by RFC 1951. The crate's own form of it has
//! 72 bytes for what is three lengths.

use std::error::Error;
#[cfg(feature = "tls")]
use std::{env, fs, io::Write, path::Path};

#[cfg(feature = "tls")]
use flate2::{Compression, write::DeflateEncoder};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/build.rs");
    // By which the static binary is linked: Cargo would not see a change.
    println!("cargo::rerun-if-changed=initramfs/size.ld");
    println!("cargo::rerun-if-changed=initramfs/lease.ld");
    #[cfg(feature = "tls")]
    fs::write(
        Path::new(&env::var("OUT_DIR")?).join("authorities.bin"),
        authorities()?,
    )?;
    Ok(())
}

#[cfg(feature = "tls")]
fn authorities() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut list = DeflateEncoder::new(Vec::new(), Compression::best());
    for root in webpki_roots::TLS_SERVER_ROOTS {
        let constraints = root.name_constraints.as_deref().unwrap_or_default();
        for field in [&*root.subject, &root.subject_public_key_info, constraints] {
            list.write_all(&u16::try_from(field.len())?.to_le_bytes())?;
            list.write_all(field)?;
        }
    }
    Ok(list.finish()?)
}
