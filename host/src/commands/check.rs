//! `sluicebox check`: everything that can be found wrong without touching a stream; and, if asked to, what a start would find
//! wrong with those that it reads and writes.

use futures_util::future::join_all;

use crate::app::online::{self, Found};

use crate::app::load::load;
use crate::cli::Check;
use crate::commands::{DONE, FAILED, WRONG, complain, print, read_manifest, tell, with_causes};
use crate::component::Engine;
use crate::config::Manifest;
use crate::progress::Screen;

/// Validates manifests and their components.
#[must_use]
pub fn check(arguments: &Check, screen: &Screen) -> u8 {
    let engine = match Engine::new() {
        Ok(engine) => engine,
        Err(error) => {
            complain(screen, &with_causes(&error));
            return WRONG;
        }
    };
    let (mut code, mut fine) = (DONE, Vec::new());
    for path in &arguments.manifests {
        let Some(manifest) = read_manifest(screen, path) else {
            code = WRONG;
            continue;
        };
        let identity = format!("{}/{}", manifest.tenant, manifest.name);
        match load(manifest, &engine) {
            Ok(ready) => {
                let assigner = ready.assigner.map(|loaded| format!(", assigner {}", loaded.digest()));
                let (path, component) = (path.display(), ready.deserializer.digest());
                let assigner = assigner.unwrap_or_default();
                tell(screen, &format!("{path}: fine: pipeline {identity}, component {component}{assigner}"));
                fine.push(ready.manifest);
            }
            Err(error) => {
                complain(screen, &format!("{}: {}", path.display(), with_causes(&error)));
                code = WRONG;
            }
        }
    }
    match arguments.online {
        // A mistake in a manifest weighs more than what a correct one names.
        true => code.max(look(&fine, screen)),
        false => code,
    }
}

/// Looks at what the manifests name: what is there is data, what is missing is told.
fn look(manifests: &[Manifest], screen: &Screen) -> u8 {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(screen, &format!("no runtime: {error}"));
            return FAILED;
        }
    };
    let looked: Vec<Vec<Found>> = runtime.block_on(join_all(manifests.iter().map(online::look)));
    let mut code = DONE;
    for (manifest, found) in manifests.iter().zip(looked) {
        let path = manifest.path.display();
        for found in found {
            match found {
                Ok(found) => code = code.max(print(screen, &format!("{path}: {found}"))),
                Err(failure) => {
                    complain(screen, &format!("{path}: {}", with_causes(&failure)));
                    code = FAILED;
                }
            }
        }
    }
    code
}
