// Package tla reads the part of TLA+ that docs/spec is written in, and explores its states: every one that can be reached within
// the constants of a scope. It exists so that the specification is executed by the project's own tests, with nothing to install;
// TLC reads the same file.
//
// Supported: constants, variables, definitions with and without arguments (also as arguments), LET, IF, CASE, CHOOSE, quantifiers,
// sets, functions, records, tuples, EXCEPT with @, primes, UNCHANGED, and [][A]_v as a property of steps. Not supported: what
// is not in that list, liveness above all; Explore has a plainer question in its place.
//
// Errors: Parse tells line and column. A term that has no value (a field that a record lacks, a number as a set) is an error of
// Explore, as it is one of TLC's.
//
// Concurrency: a Module is immutable once parsed; each exploration has its own state.
package tla
