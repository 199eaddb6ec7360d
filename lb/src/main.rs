//! Load balancer of Quizstack: one address in front of many quiz front-ends.

fn main() {}
