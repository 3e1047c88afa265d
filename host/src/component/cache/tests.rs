use std::sync::Barrier;

use super::*;

/// The smallest component, with a custom section so that each has a digest of its own.
fn bytes(tag: u8) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.extend([0, 3, 1, b't', tag]);
    bytes
}

fn origin(engine: &Engine, directory: Option<&Path>, tag: u8) -> Origin {
    let bytes = bytes(tag);
    let (_component, origin) = component(engine, directory, Digest::of(&bytes), &bytes).expect("it compiles");
    origin
}

fn only_file(directory: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(directory).expect("the directory is there");
    let file = files.next().expect("one file").expect("readable").path();
    assert!(files.next().is_none(), "nothing unfinished stays behind");
    file
}

fn engine() -> Engine {
    Engine::new().expect("this machine runs components")
}

#[test]
fn a_component_is_compiled_once_and_found_by_the_next_engine() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("made/by/us");
    assert_eq!(origin(&engine(), Some(&cache), 1), Origin::Compiled);
    assert_eq!(origin(&engine(), Some(&cache), 1), Origin::Cached);
    assert_eq!(origin(&engine(), Some(&cache), 2), Origin::Compiled, "another digest is another file");
    assert_eq!(origin(&engine(), None, 1), Origin::Compiled, "without a directory nothing is kept");
}

#[test]
fn a_component_in_use_is_shared_and_a_dropped_one_is_not_kept() {
    let engine = engine();
    let bytes = bytes(1);
    let digest = Digest::of(&bytes);
    let first = component(&engine, None, digest, &bytes).expect("it compiles");
    let second = component(&engine, None, digest, &bytes).expect("it is there");
    assert_eq!((first.1, second.1), (Origin::Compiled, Origin::Shared));
    assert!(Arc::ptr_eq(&first.0, &second.0));
    drop((first, second));
    assert_eq!(origin(&engine, None, 1), Origin::Compiled);
}

#[test]
fn concurrent_loads_of_one_digest_compile_once() {
    let engine = engine();
    let bytes = bytes(1);
    let start = Barrier::new(4);
    let load = || {
        start.wait();
        component(&engine, None, Digest::of(&bytes), &bytes).expect("it compiles")
    };
    let loads = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(load));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    assert_eq!(loads.iter().filter(|(_, origin)| *origin == Origin::Compiled).count(), 1);
}

#[test]
fn a_damaged_torn_or_foreign_file_is_compiled_again_and_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("cache");
    assert_eq!(origin(&engine(), Some(&cache), 1), Origin::Compiled);
    let file = only_file(&cache);
    let good = fs::read(&file).expect("readable");
    let mut flipped = good.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    let other_layout = [b"sluicebox compiled component 2\n".as_slice(), &good[MAGIC.len()..]].concat();
    let torn = good[..good.len() / 2].to_vec();
    for (damage, content) in
        [("flipped", flipped), ("torn", torn), ("other layout", other_layout), ("empty", Vec::new())]
    {
        fs::write(&file, content).expect("writable");
        assert_eq!(origin(&engine(), Some(&cache), 1), Origin::Compiled, "{damage}");
        assert_eq!(fs::read(&file).expect("readable"), good, "{damage}: replaced by the same code");
        assert_eq!(origin(&engine(), Some(&cache), 1), Origin::Cached, "{damage}: and good again");
    }
}

#[test]
fn a_whole_file_under_another_components_name_is_not_trusted() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("cache");
    assert_eq!(origin(&engine(), Some(&cache), 1), Origin::Compiled);
    let (one, two) = (Digest::of(&bytes(1)).hex(), Digest::of(&bytes(2)).hex());
    let file = only_file(&cache);
    let name = file.file_name().and_then(|name| name.to_str()).expect("hexadecimal");
    fs::copy(&file, cache.join(name.replace(&one, &two))).expect("writable");
    assert_eq!(origin(&engine(), Some(&cache), 2), Origin::Compiled);
}

#[test]
fn a_directory_that_others_may_use_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    assert_eq!(origin(&engine(), Some(directory.path()), 1), Origin::Compiled);
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    assert_eq!(origin(&engine(), Some(directory.path()), 1), Origin::Compiled);
    assert_eq!(origin(&engine(), Some(directory.path()), 1), Origin::Cached);
}
