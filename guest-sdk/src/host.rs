//! What a component can ask of the host: in a sandbox its imports, natively the stand-in that [`testing`] controls.
//!
//! [`testing`]: crate::testing

#[cfg(target_family = "wasm")]
mod imports;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;

#[cfg(target_family = "wasm")]
pub(crate) use imports::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
