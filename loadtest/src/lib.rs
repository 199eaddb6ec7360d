//! Load tester of Quizstack: open-loop load with honest percentiles.
