//! End to end: crabbox and its providers as a user has them.

mod first_run;
