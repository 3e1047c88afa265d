//! What every sink that keeps elements promises, whatever it is made of. (`stdout` and `discard` keep nothing to look at:
//! what they owe is seen on the binary.)

use std::path::PathBuf;

use host::columns::Column;
use host::ports::{Sink, SinkError};
use host::sink::file::LineFile;
use host::sink::memory::MemorySink;

/// One target and the sinks that write to it. Dropping a sink is the death of its process.
trait Target {
    fn sink(&self) -> Box<dyn Sink>;
    /// What the target holds, element by element.
    fn holds(&self) -> Vec<String>;
    /// Somebody else takes all of it away.
    fn lose(&self);
}

#[derive(Default)]
struct Memory {
    sink: MemorySink,
}

impl Target for Memory {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.sink.clone())
    }

    fn holds(&self) -> Vec<String> {
        self.sink.elements().into_iter().map(|element| String::from_utf8(element).expect("text")).collect()
    }

    fn lose(&self) {
        self.sink.clone().resume(Some(0)).expect("a shorter place is taken");
    }
}

struct File {
    folder: tempfile::TempDir,
}

impl Default for File {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("nested").join("out.txt")
    }
}

impl Target for File {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(LineFile::new("file", &self.path()))
    }

    fn holds(&self) -> Vec<String> {
        std::fs::read_to_string(self.path()).expect("the file is there").lines().map(str::to_owned).collect()
    }

    fn lose(&self) {
        std::fs::write(self.path(), "").expect("the file can be written");
    }
}

macro_rules! contract {
    ($($claim:ident)*) => {
        mod memory {
            $(#[test] fn $claim() { super::$claim(&super::Memory::default()); })*
        }
        mod line_file {
            $(#[test] fn $claim() { super::$claim(&super::File::default()); })*
        }
    };
}

contract! {
    elements_appear_in_the_order_of_the_calls
    marks_never_fall_and_grow_with_what_is_kept
    resuming_at_a_mark_forgets_what_came_after_it
    resuming_at_the_last_mark_changes_nothing
    resuming_again_and_again_is_the_same
    resuming_without_a_mark_keeps_what_is_there
    a_target_shorter_than_its_mark_is_refused_and_left_alone
    what_was_written_survives_the_sink
    settling_succeeds_before_and_after_writes_and_does_not_disturb_them
    a_sink_that_was_not_resumed_loses_nothing_in_silence
}

fn column(elements: &[&str]) -> Column {
    let mut column = Column::default();
    elements.iter().for_each(|element| column.push(element.as_bytes()));
    column
}

/// A sink at its place, and the mark of that place.
fn resumed(target: &dyn Target, mark: Option<u64>) -> (Box<dyn Sink>, u64) {
    let mut sink = target.sink();
    let mark = sink.resume(mark).expect("the target takes it").expect("a sink with marks");
    (sink, mark)
}

#[track_caller]
fn write(sink: &mut dyn Sink, elements: &[&str]) -> u64 {
    sink.write(&column(elements)).expect("the target takes it").expect("a sink with marks")
}

fn elements_appear_in_the_order_of_the_calls(target: &dyn Target) {
    let (mut sink, _) = resumed(target, None);
    write(sink.as_mut(), &["a", "b"]);
    write(sink.as_mut(), &["c"]);
    // Seen by others at once, without settling or dropping.
    assert_eq!(target.holds(), ["a", "b", "c"]);
    write(sink.as_mut(), &["d"]);
    assert_eq!(target.holds(), ["a", "b", "c", "d"]);
}

fn marks_never_fall_and_grow_with_what_is_kept(target: &dyn Target) {
    let (mut sink, start) = resumed(target, None);
    let first = write(sink.as_mut(), &["a", "b"]);
    let nothing = write(sink.as_mut(), &[]);
    let second = write(sink.as_mut(), &["c"]);
    assert!(start < first && first == nothing && nothing < second, "{start} {first} {nothing} {second}");
}

fn resuming_at_a_mark_forgets_what_came_after_it(target: &dyn Target) {
    let (mut sink, start) = resumed(target, None);
    let mark = write(sink.as_mut(), &["a", "b"]);
    write(sink.as_mut(), &["c", "d"]);
    drop(sink);
    let (mut sink, placed) = resumed(target, Some(mark));
    assert_eq!(placed, mark);
    assert_eq!(target.holds(), ["a", "b"]);
    write(sink.as_mut(), &["e"]);
    assert_eq!(target.holds(), ["a", "b", "e"]);
    drop(sink);
    drop(resumed(target, Some(start)));
    assert!(target.holds().is_empty());
}

fn resuming_at_the_last_mark_changes_nothing(target: &dyn Target) {
    let (mut sink, _) = resumed(target, None);
    let mark = write(sink.as_mut(), &["a", "b"]);
    drop(sink);
    let (_sink, placed) = resumed(target, Some(mark));
    assert_eq!((placed, target.holds()), (mark, vec!["a".to_owned(), "b".to_owned()]));
}

fn resuming_again_and_again_is_the_same(target: &dyn Target) {
    let (mut sink, _) = resumed(target, None);
    let mark = write(sink.as_mut(), &["a"]);
    write(sink.as_mut(), &["lost"]);
    for _ in 0..3 {
        assert_eq!(sink.resume(Some(mark)).expect("taken"), Some(mark));
        assert_eq!(target.holds(), ["a"]);
        write(sink.as_mut(), &["lost again"]);
    }
}

/// What stands there without a mark is somebody else's.
fn resuming_without_a_mark_keeps_what_is_there(target: &dyn Target) {
    let (mut sink, _) = resumed(target, None);
    let theirs = write(sink.as_mut(), &["theirs"]);
    drop(sink);
    let (mut sink, ours) = resumed(target, None);
    assert_eq!(ours, theirs);
    write(sink.as_mut(), &["ours"]);
    assert_eq!(target.holds(), ["theirs", "ours"]);
    drop(sink);
    // The mark that the resume told is the place to come back to.
    drop(resumed(target, Some(ours)));
    assert_eq!(target.holds(), ["theirs"]);
}

fn a_target_shorter_than_its_mark_is_refused_and_left_alone(target: &dyn Target) {
    let (mut sink, start) = resumed(target, None);
    let mark = write(sink.as_mut(), &["a", "b"]);
    drop(sink);
    target.lose();
    let error = target.sink().resume(Some(mark)).expect_err("what was recorded is gone");
    assert!(
        matches!(error, SinkError::Shrunk { found, recorded, .. } if found == start && recorded == mark),
        "{error:?}"
    );
    assert!(target.holds().is_empty(), "nothing was made up");
}

fn what_was_written_survives_the_sink(target: &dyn Target) {
    let (mut sink, _) = resumed(target, None);
    for number in 0..1_000 {
        write(sink.as_mut(), &[&number.to_string()]);
    }
    drop(sink);
    assert_eq!(target.holds(), (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
}

fn settling_succeeds_before_and_after_writes_and_does_not_disturb_them(target: &dyn Target) {
    let (mut sink, _) = resumed(target, None);
    let mut settle = sink.settle().expect("the target can be shared").unwrap_or_else(|| Box::new(|| Ok(())));
    settle().expect("nothing to settle");
    let mark = write(sink.as_mut(), &["a"]);
    settle().expect("it settles");
    settle().expect("it settles again");
    assert!(write(sink.as_mut(), &["b"]) > mark);
    drop(sink);
    settle().expect("the sink may be gone");
    assert_eq!(target.holds(), ["a", "b"]);
}

/// Either it takes the element or it says that it does not.
fn a_sink_that_was_not_resumed_loses_nothing_in_silence(target: &dyn Target) {
    let taken = target.sink().write(&column(&["a"])).is_ok();
    assert!(!taken || target.holds() == ["a"]);
}

/// DEL-1: two writers of one file would overwrite one another without a word.
#[test]
fn a_file_that_another_sink_writes_to_is_refused_until_that_one_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.txt");
    let mut first = LineFile::new("first", &path);
    first.resume(None).expect("nobody else writes there");
    let mut second = LineFile::new("second", &path);
    let refused = second.resume(None).expect_err("the first one writes there");
    assert!(matches!(&refused, SinkError::Shared { sink, .. } if sink == "second"), "{refused}");
    drop(first);
    second.resume(None).expect("the first one is gone");
}
