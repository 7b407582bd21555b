package worker

// Newest is newest, for tests.
var Newest = newest
