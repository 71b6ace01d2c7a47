//! The cloud programs, run as they are installed, against moto_server. `plugins/test` runs these.

mod ec2;
mod instances;
mod job;
mod spot;
mod store;
mod support;
mod volume;
