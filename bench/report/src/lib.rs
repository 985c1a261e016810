//! Results of load tests: the document of a run ([`result`]), its report as a page ([`html`]), two
//! runs side by side ([`compare`]), and the comparison of strategies ([`strategies`]). Pages are
//! single files that load nothing and need no script.

pub mod compare;
pub mod format;
pub mod html;
pub mod page;
pub mod plot;
pub mod read;
pub mod result;
pub mod strategies;
