//! The gates, as clients meet them: the real program, limited.

mod live;
