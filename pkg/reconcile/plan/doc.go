// Package plan is the algorithm without its requests: what a row and the answers of buckets mean, and how a row changes
// at each line of docs/algorithm.md. Everything here is a pure function of rows: no I/O, no clock, no randomness, so that the
// engine, the simulator and the exhaustive explorer run the very same code.
//
// Plan says what to do next; Intend, Written, Withdraw and Resolve are the row at the lines 5a, 5e and 4c.
//
// Errors: there are none. What a bucket did not answer is left out of a View, and nothing is concluded of it.
//
// Concurrency: there is no state. Rows are values; the versions in them are shared and immutable.
package plan
