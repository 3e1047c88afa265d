//! Who descends from whom, and who may be read.
