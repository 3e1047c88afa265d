//! What is confirmed of one reader's session.
