//! Lab of Quizstack: the whole stack as supervised processes on this machine.

fn main() {}
