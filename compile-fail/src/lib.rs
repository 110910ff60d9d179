//! Its tests compile what users could write by mistake. A crate of its own, because each case is compiled with all that its crate depends on.
