// Package e2e has users write to all replicas of a group, at real servers and with the provider's plain SDK, while a program runs,
// is killed, or hears of nothing. Then it reads the replicas independently and judges: they must be equal, and every content
// that a server ever acknowledged must be current, overwritten by a user who had seen it, or kept.
//
// Command is that as a run of its own (hack/e2e.sh). Stage is the same for other runs, which bring their own program or their
// own users (test/chaos). docs/testing.md says what each proves.
//
// Errors: a fault of the harness, of a server, or replicas that do not become equal. What was lost is in a Summary.
//
// Concurrency: a Stage's Do may be called from many goroutines, its other methods and its Program from one.
package e2e
