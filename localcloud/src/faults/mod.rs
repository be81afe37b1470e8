//! Faults on purpose, by seed and by rule: what AWS does to its clients now and then, and what a test cannot wait for.
//!
//! A specification is a list of rules (`spec`), each with the calls that it concerns and one kind of fault (`kind`). The
//! rules are asked in their order when a call has proved who makes it; the first that fires has the call, and those behind
//! do not see it. Whether a rule fires is a function of the seed, of its text and of how many calls it has seen (`draw`):
//! neither clock nor chance decides, so that the same calls meet the same faults. `plan` keeps the counts of a running
//! cloud, `refusal` the answers of a refused call in each service's words. All of these are pure.
//!
//! What is done to an answer on its way is in `body` and `wire`. What a service does wrongly is in that service: it finds
//! the [`Fault`] with its call, and says so when it has happened. A fault that could do nothing, such as a second delivery
//! where no message is hidden, did not happen: it is not counted, and `times` is not used up by it.

mod body;
mod draw;
mod kind;
mod plan;
mod refusal;
mod spec;
mod wire;

pub use self::spec::{FaultSpecError, Faults};
pub use self::wire::Connection;

pub(crate) use self::body::{Broken, answered};
pub(crate) use self::draw::{below, next};
pub(crate) use self::kind::Kind;
pub(crate) use self::plan::{Asks, Fault, FaultSlot, Injector};
pub(crate) use self::wire::{Fate, Wire};
