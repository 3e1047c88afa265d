//! `sluicebox check`: everything that can be found wrong without touching a stream.

use crate::app::load::load;
use crate::cli::Check;
use crate::commands::{DONE, WRONG, complain, read_manifest, tell, with_causes};
use crate::component::Engine;
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
    let mut code = DONE;
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
            }
            Err(error) => {
                complain(screen, &format!("{}: {}", path.display(), with_causes(&error)));
                code = WRONG;
            }
        }
    }
    code
}
