//! Front-end of Quizstack: pages, accounts and pictures of the quiz site.

fn main() {}
